// Text of models and people with markdown in it. Never markup of theirs: HTML is shown as text, an image is a word
// (nothing is fetched), a link leads to http, https or mail alone and says where.

import { type ComponentProps, memo, type ReactNode, useState } from "react";
import Renderer, { type Components } from "react-markdown";
import gfm from "remark-gfm";
import { announce } from "./announce";
import { useText } from "./i18n";
import "./markdown.css";
import { text as catalogue } from "./text";

const ALLOWED = new Set(["http:", "https:", "mailto:"]);
const COPIED_MS = 1_500;

/** `children` as markdown. Memoised: a long conversation renders what changed. */
export const Markdown = memo(function Markdown({ children }: { children: string }) {
  return (
    <div className="markdown">
      <Renderer remarkPlugins={PLUGINS} components={COMPONENTS} urlTransform={safe}>
        {children}
      </Renderer>
    </div>
  );
});

const PLUGINS = [gfm];

const COMPONENTS: Components = {
  a: ({ href, children }) => <Outward href={href}>{children}</Outward>,
  img: ({ src, alt }) => <ImageChip src={typeof src === "string" ? src : ""} alt={alt ?? ""} />,
  pre: ({ children }) => <CodeBlock>{children}</CodeBlock>,
  table: ({ children }) => <Table>{children}</Table>,
  input: ({ checked }) => <Task done={checked === true} />,
  // A message stands below the page's own headings.
  h1: ({ children }) => <h3>{children}</h3>,
  h2: ({ children }) => <h3>{children}</h3>,
  h3: ({ children }) => <h4>{children}</h4>,
  h4: ({ children }) => <h5>{children}</h5>,
  h5: ({ children }) => <h6>{children}</h6>,
};

/** The address, where it is whole and harmless; else nothing. */
export function safe(address: string): string {
  const url = URL.parse(address);
  return url && ALLOWED.has(url.protocol) ? url.href : "";
}

function Outward({ href, children }: { href: string | undefined; children?: ReactNode }) {
  const url = href ? URL.parse(href) : null;
  if (!url) return <span className="no-link">{children}</span>;
  const where = url.host || url.pathname;
  const isItself = typeof children === "string" && children.includes(where);
  return (
    <>
      <a href={url.href} target="_blank" rel="noopener noreferrer nofollow">
        {children}
      </a>
      {!isItself && <small className="where"> ({where})</small>}
    </>
  );
}

function ImageChip({ src, alt }: { src: string; alt: string }) {
  const text = useText(catalogue);
  const host = URL.parse(src)?.host;
  return (
    <span className="chip">
      {text.image}
      {alt && `: ${alt}`} ({host ? `${host}, ` : ""}
      {text.imageNotLoaded})
    </span>
  );
}

function Task({ done }: { done: boolean }) {
  const text = useText(catalogue);
  return (
    <span role="img" aria-label={done ? text.done : text.todo}>
      {done ? "☑" : "☐"}
    </span>
  );
}

function Table({ children }: { children?: ReactNode }) {
  const text = useText(catalogue);
  return (
    <div className="wide" role="group" aria-label={text.table} tabIndex={0}>
      <table>{children}</table>
    </div>
  );
}

function CodeBlock({ children }: { children?: ReactNode }) {
  const text = useText(catalogue);
  const { code, language } = codeOf(children);
  return (
    <div className="code">
      <div className="code-head">
        <span>{language}</span>
        <CopyButton text={code} />
      </div>
      <pre tabIndex={0} role="group" aria-label={language ? text.codeOf(language) : text.code}>
        <code>{code}</code>
      </pre>
    </div>
  );
}

/** A button that copies, and says whether that worked. */
export function CopyButton({ text: copied, className = "quiet" }: { text: string; className?: string }) {
  const text = useText(catalogue);
  const [told, setTold] = useState("");
  const copy = async () => {
    const done = await navigator.clipboard?.writeText(copied).then(
      () => true,
      () => false,
    );
    const said = done ? text.copied : text.copyFailed;
    announce(said);
    setTold(said);
    setTimeout(() => setTold(""), COPIED_MS);
  };
  return (
    <button type="button" className={className} onClick={copy}>
      {told || text.copy}
    </button>
  );
}

/** The text and the language of a fenced block, from the one `code` element in it. */
function codeOf(children: ReactNode): { code: string; language: string } {
  const inner = (children as { props?: ComponentProps<"code"> } | null)?.props;
  const code = typeof inner?.children === "string" ? inner.children.replace(/\n$/, "") : "";
  return { code, language: /language-(\S+)/.exec(inner?.className ?? "")?.[1] ?? "" };
}
