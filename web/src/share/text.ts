// The words of sharing.

import type { Catalogue } from "../shared/i18n";

const en = {
  share: "Share this conversation",
  shareHint:
    "Whoever has the link can read the conversation as it is now, without an account. What is said later, other versions, your name and your feedback are not shown. You can revoke a link at any time.",
  lasts: "The link works",
  days: (count: number) => (count === 1 ? "for one day" : `for ${count} days`),
  forever: "until I revoke it",
  make: "Make a link",
  made: "The link is made and stands in the list.",
  linksOfThis: "Links to this conversation",
  revoke: "Revoke",
  close: "Close",
  untitled: "Untitled",
  madeAt: (when: string) => `made ${when}`,
  lastsForever: "works until revoked",
  lastsUntil: (when: string) => `works until ${when}`,
  expiredAt: (when: string) => `expired ${when}`,
  revokedAt: (when: string) => `revoked ${when}`,
  sharedTitle: "A shared conversation",
  sharedAt: (when: string) =>
    `A conversation with a language model, as it was on ${when}. Somebody shared it by a link.`,
  sharedFoot:
    "Language models write what sounds right and is sometimes wrong. parley is software for making and talking to them.",
  userSaid: "The person said",
  modelSaid: "The model said",
  writtenBy: (release: string) => `written by ${release}`,
  goneTitle: "This link has ended",
  goneHint: "It was revoked or has expired. Ask whoever gave it to you for a new one.",
  noneTitle: "There is nothing here",
  noneHint: "No conversation is shared under this address. It may have been mistyped.",
  away: "The server does not answer right now; trying again.",
};

const tr: typeof en = {
  share: "Bu konuşmayı paylaş",
  shareHint:
    "Bağlantıyı bilen herkes konuşmayı şimdiki haliyle, hesap açmadan okuyabilir. Sonra söylenenler, öbür sürümler, adın ve görüşlerin gösterilmez. Bağlantıyı istediğin zaman geri çekebilirsin.",
  lasts: "Bağlantının süresi:",
  days: (count) => `${count} gün`,
  forever: "geri çekene dek",
  make: "Bağlantı oluştur",
  made: "Bağlantı hazır; listede duruyor.",
  linksOfThis: "Bu konuşmanın bağlantıları",
  revoke: "Geri çek",
  close: "Kapat",
  untitled: "Başlıksız",
  madeAt: (when) => `oluşturuldu: ${when}`,
  lastsForever: "geri çekilene dek çalışır",
  lastsUntil: (when) => `şu zamana dek çalışır: ${when}`,
  expiredAt: (when) => `süresi doldu: ${when}`,
  revokedAt: (when) => `geri çekildi: ${when}`,
  sharedTitle: "Paylaşılmış bir konuşma",
  sharedAt: (when) => `Bir dil modeliyle yapılmış bir konuşmanın ${when} tarihindeki hali. Biri bağlantıyla paylaştı.`,
  sharedFoot:
    "Dil modelleri kulağa doğru gelen, bazen yanlış olan şeyler yazar. parley onları yapmak ve onlarla konuşmak için bir yazılımdır.",
  userSaid: "Kişi dedi ki",
  modelSaid: "Model dedi ki",
  writtenBy: (release) => `yazan: ${release}`,
  goneTitle: "Bu bağlantı sona erdi",
  goneHint: "Geri çekilmiş ya da süresi dolmuş. Sana verenden yenisini iste.",
  noneTitle: "Burada bir şey yok",
  noneHint: "Bu adreste paylaşılmış bir konuşma yok. Adres yanlış yazılmış olabilir.",
  away: "Sunucu şu anda yanıt vermiyor; yeniden deneniyor.",
};

export const text: Catalogue<typeof en> = { en, tr };
