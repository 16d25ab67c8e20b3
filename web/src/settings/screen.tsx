// The account: name, language, look, what may be learnt from, what was shared, and the way out.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useId, useState } from "react";
import { useShares } from "../share/data";
import { ShareList } from "../share/list";
import { announce } from "../shared/announce";
import { call, Problem, request } from "../shared/api";
import { isLanguage, LANGUAGES, language, setLanguage, useText } from "../shared/i18n";
import { useChangeMe, useMe } from "../shared/me";
import { useTitle } from "../shared/router";
import { forgetAll, useStore } from "../shared/store";
import { setTheme, type Theme, theme } from "../shared/theme";
import { moment } from "../shared/words";
import "./settings.css";
import { text as catalogue } from "./text";

export default function Settings() {
  const text = useText(catalogue);
  useTitle(text.title);
  return (
    <div className="page settings">
      <h1 tabIndex={-1}>{text.title}</h1>
      <Name />
      <Look />
      <Consent />
      <Shares />
      <SignOut />
    </div>
  );
}

function Section({ title, children }: { title: string; children: ReactNode }) {
  const heading = useId();
  return (
    <section aria-labelledby={heading}>
      <h2 id={heading}>{title}</h2>
      {children}
    </section>
  );
}

function Name() {
  const text = useText(catalogue);
  const me = useMe();
  if (!me) return null;
  return (
    <Section title={text.account}>
      <NameForm key={me.name} name={me.name} />
    </Section>
  );
}

function NameForm({ name }: { name: string }) {
  const text = useText(catalogue);
  const changeMe = useChangeMe();
  const [value, setValue] = useState(name);
  const { problem, attempt } = useAttempt();
  const save = () => attempt(() => changeMe({ name: value.trim() }), text.saved);
  return (
    <form
      className="line"
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <label>
        {text.name}
        <input
          maxLength={200}
          autoComplete="nickname"
          value={value}
          onChange={(event) => setValue(event.target.value)}
        />
      </label>
      <button type="submit" className="plain-button" disabled={!value.trim() || value.trim() === name}>
        {text.save}
      </button>
      {problem}
    </form>
  );
}

function Look() {
  const text = useText(catalogue);
  const changeMe = useChangeMe();
  const { problem, attempt } = useAttempt();
  const [spoken, shown] = [useStore(language), useStore(theme)];
  const speak = (value: string) => {
    if (!isLanguage(value)) return;
    setLanguage(value);
    void attempt(() => changeMe({ language: value }), "");
  };
  return (
    <Section title={text.look}>
      <div className="line">
        <label>
          {text.language}
          <select value={spoken} onChange={(event) => speak(event.target.value)}>
            {LANGUAGES.map((one) => (
              <option key={one} value={one} lang={one}>
                {{ en: "English", tr: "Türkçe" }[one]}
              </option>
            ))}
          </select>
        </label>
        <label>
          {text.theme}
          <select value={shown} onChange={(event) => setTheme(event.target.value as Theme)}>
            <option value="system">{text.asSystem}</option>
            <option value="light">{text.light}</option>
            <option value="dark">{text.dark}</option>
          </select>
        </label>
      </div>
      {problem}
    </Section>
  );
}

/** Whether the person's words may be learnt from. The text is the server's, in a version of its own. */
function Consent() {
  const text = useText(catalogue);
  const queries = useQueryClient();
  const spoken = useMe()?.language ?? null;
  const { problem, attempt } = useAttempt();
  const [wanted, setWanted] = useState<boolean | null>(null); // until the server has answered
  const { data: consent } = useQuery({
    queryKey: ["consent", spoken],
    queryFn: ({ signal }) => call("GET /api/consent", { signal }),
  });
  if (!consent) return null;
  const change = async (train: boolean) => {
    setWanted(train);
    await attempt(
      async () => {
        await call("PUT /api/consent", { body: { train, text_version: consent.text_version } });
      },
      train ? text.trainingOn : text.trainingOff,
    );
    await Promise.all([
      queries.invalidateQueries({ queryKey: ["consent"] }),
      queries.invalidateQueries({ queryKey: ["me"] }),
    ]);
    setWanted(null);
  };
  const [title, ...paragraphs] = consent.text.trim().split(/\n\s*\n/);
  return (
    <Section title={title ?? ""}>
      {paragraphs.map((paragraph) => (
        <p key={paragraph} className="consent">
          {paragraph}
        </p>
      ))}
      <label className="check">
        <input type="checkbox" checked={wanted ?? consent.train} onChange={(event) => change(event.target.checked)} />
        {text.mayLearn}
      </label>
      <p className="quietly small">
        {text.textVersion(consent.text_version)} {consent.changed !== null && text.changedAt(moment(consent.changed))}
      </p>
      {consent.train && consent.granted_version !== consent.text_version && (
        <p className="notice">
          {text.textChanged}{" "}
          <button type="button" className="link" onClick={() => change(true)}>
            {text.agreeAgain}
          </button>
        </p>
      )}
      {problem}
    </Section>
  );
}

function Shares() {
  const text = useText(catalogue);
  const shares = useShares(true);
  return (
    <Section title={text.shares}>
      {shares?.length === 0 && <p className="quietly">{text.noShares}</p>}
      {shares && <ShareList shares={shares} titled />}
    </Section>
  );
}

function SignOut() {
  const text = useText(catalogue);
  const { problem, attempt } = useAttempt();
  const leave = () =>
    attempt(async () => {
      await request("/logout", { method: "POST" });
      forgetAll();
      window.location.assign("/login");
    }, "");
  return (
    <Section title={text.signOut}>
      <p className="quietly">{text.signOutHint}</p>
      <p className="line">
        <button type="button" className="plain-button" onClick={leave}>
          {text.signOut}
        </button>
      </p>
      {problem}
    </Section>
  );
}

/** `attempt` does something and tells screen readers; `problem` shows why it could not be done. */
function useAttempt() {
  const [said, setSaid] = useState("");
  const attempt = async (what: () => Promise<void>, done: string) => {
    try {
      await what();
      setSaid("");
      announce(done);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      setSaid(error.message);
    }
  };
  const problem = said && (
    <p className="notice bad" role="alert">
      {said}
    </p>
  );
  return { problem, attempt };
}
