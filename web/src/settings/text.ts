// The words of the settings.

import type { Catalogue } from "../shared/i18n";

const en = {
  title: "Settings",
  account: "Account",
  name: "Name",
  save: "Save",
  saved: "Saved.",
  look: "Language and look",
  language: "Language",
  theme: "Colours",
  asSystem: "As the system",
  light: "Light",
  dark: "Dark",
  mayLearn: "Yes, later releases may learn from my conversations",
  trainingOn: "Training is on.",
  trainingOff: "Training is off.",
  textVersion: (version: string) => `Version ${version} of this text.`,
  changedAt: (when: string) => `You changed your answer last on ${when}.`,
  textChanged: "The text has changed since you agreed. What you agreed to before is what holds until you agree again.",
  agreeAgain: "I agree to this text",
  shares: "Shared links",
  noShares: "You have not shared a conversation.",
  signOut: "Sign out",
  signOutHint: "On this browser. Drafts that it kept are deleted; conversations stay on the server.",
};

const tr: typeof en = {
  title: "Ayarlar",
  account: "Hesap",
  name: "Ad",
  save: "Kaydet",
  saved: "Kaydedildi.",
  look: "Dil ve görünüş",
  language: "Dil",
  theme: "Renkler",
  asSystem: "Sistemdeki gibi",
  light: "Açık",
  dark: "Koyu",
  mayLearn: "Evet, sonraki sürümler konuşmalarımdan öğrenebilir",
  trainingOn: "Eğitim açık.",
  trainingOff: "Eğitim kapalı.",
  textVersion: (version) => `Bu metnin ${version}. sürümü.`,
  changedAt: (when) => `Yanıtını en son şu zamanda değiştirdin: ${when}.`,
  textChanged: "Metin, sen kabul ettiğinden beri değişti. Yeniden kabul edene dek önceki kabulün geçerli.",
  agreeAgain: "Bu metni kabul ediyorum",
  shares: "Paylaşılan bağlantılar",
  noShares: "Hiçbir konuşma paylaşmadın.",
  signOut: "Çıkış yap",
  signOutHint: "Bu tarayıcıda. Sakladığı taslaklar silinir; konuşmalar sunucuda kalır.",
};

export const text: Catalogue<typeof en> = { en, tr };
