// The words of comparing.

import type { Catalogue } from "../shared/i18n";

const en = {
  title: "Compare",
  welcome: "One question, every stage answers",
  welcomeHint:
    "Your message goes to each release that is ticked. Each keeps a conversation of its own, so you can ask them on. What you see from left to right is what the training did.",
  tooFew: "Comparing needs two releases; there are not that many yet.",
  toRun: "See how the next one is made",
  who: "Who answers",
  box: "Message all of them",
  boxEmpty: "Tick two releases or more",
  anew: "New comparison",
  recent: "Earlier comparisons",
  untitled: "Without a title",
  columns: (count: number) => `${count} columns`,
  asked: "You asked",
  answers: "Answers",
  goOn: "go on with it alone",
  goOnWith: (label: string) => `Go on with ${label} alone`,
  waits: "waits for its turn",
  notAsked: "was not asked this",
  ask: "Ask it",
  askIt: (label: string) => `Ask ${label} this`,
  nobody: (why: string) => `${why} Your message is back in the box; send it again.`,
  remove: "Delete…",
  removeTitle: "Delete this comparison?",
  removeHint: "All its columns are gone then, for good.",
  confirmRemove: "Delete",
  cancel: "Cancel",
  gone: "This comparison is not there (any more).",
};

const tr: typeof en = {
  title: "Karşılaştır",
  welcome: "Tek soru, her aşama yanıtlar",
  welcomeHint:
    "İletin işaretli her sürüme gider. Her biri kendi sohbetini tutar, böylece onlara yeniden sorabilirsin. Soldan sağa gördüğün, eğitimin yaptığıdır.",
  tooFew: "Karşılaştırmak için iki sürüm gerekir; henüz o kadar yok.",
  toRun: "Sonrakinin nasıl yapıldığına bak",
  who: "Kim yanıtlıyor",
  box: "Hepsine yaz",
  boxEmpty: "En az iki sürüm işaretle",
  anew: "Yeni karşılaştırma",
  recent: "Önceki karşılaştırmalar",
  untitled: "Başlıksız",
  columns: (count) => `${count} sütun`,
  asked: "Sorduğun",
  answers: "Yanıtlar",
  goOn: "yalnız onunla sürdür",
  goOnWith: (label) => `Yalnız ${label} ile sürdür`,
  waits: "sırasını bekliyor",
  notAsked: "bu sorulmadı",
  ask: "Sor",
  askIt: (label) => `Bunu ${label} sürümüne sor`,
  nobody: (why) => `${why} İletin kutuda duruyor; yeniden gönder.`,
  remove: "Sil…",
  removeTitle: "Bu karşılaştırma silinsin mi?",
  removeHint: "Bütün sütunları kalıcı olarak silinir.",
  confirmRemove: "Sil",
  cancel: "Vazgeç",
  gone: "Bu karşılaştırma (artık) yok.",
};

export const text: Catalogue<typeof en> = { en, tr };
