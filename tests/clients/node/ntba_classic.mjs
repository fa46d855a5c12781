// node-telegram-bot-api as it was before version 2 does everything a bot does once.
import { basename } from "node:path";
import TelegramBot from "ntba-classic";
import { CHATS, LONG, MENU, fetched, given, step, tell } from "./telling.mjs";

const bot = new TelegramBot(given.token, { baseApiUrl: given.url });
const stem = (path) => basename(path, ".jpg");

function describe(error) {
  const body = error.response?.body;
  return { code: body?.error_code, retry_after: body?.parameters?.retry_after };
}

await step("text", async () => {
  const sent = await bot.sendMessage(CHATS.text, "Hello, <b>Wörld</b> ✓", { parse_mode: "HTML" });
  return { id: sent.message_id, text: sent.text };
}, describe);
await step("long", () => bot.sendMessage(CHATS.long, LONG), describe);
const shown = await step("photo", async () => {
  const sent = await bot.sendPhoto(CHATS.photo, given.pictures[0], { caption: "a picture" });
  return { id: sent.message_id, file: sent.photo.at(-1).file_id };
}, describe);
await step("album", async () => {
  const items = given.pictures.map((path) => ({ type: "photo", media: path, caption: stem(path) }));
  return { ids: (await bot.sendMediaGroup(CHATS.album, items)).map((one) => one.message_id) };
}, describe);
await step("download", async () => fetched(await bot.getFileLink(shown.file)), describe);
await step("edit", async () => {
  const sent = await bot.sendMessage(CHATS.edit, "before");
  const edited = await bot.editMessageText("after", { chat_id: CHATS.edit, message_id: sent.message_id });
  return { id: edited.message_id, text: edited.text };
}, describe);
await step("delete", async () => {
  const sent = await bot.sendMessage(CHATS.delete, "to be deleted");
  await bot.sendMessage(CHATS.delete, "to stay");
  return { deleted: await bot.deleteMessage(CHATS.delete, sent.message_id) };
}, describe);
await step("refused", () => bot.sendMessage(CHATS.refused, "<wrong>", { parse_mode: "HTML" }), describe);
await step("blocked", () => bot.sendMessage(CHATS.blocked, "one"), describe);
await step("blocked again", () => bot.sendMessage(CHATS.blocked, "two"), describe);
await step("flood", () => bot.getChat(CHATS.flood), describe);

bot.on("message", async (message) => {
  tell("message", { result: { text: message.text } });
  await bot.sendMessage(message.chat.id, `You said ${message.text}`);
});
bot.on("callback_query", async (query) => {
  const answered = await bot.answerCallbackQuery(query.id, { text: "Thank you" });
  tell("press", { result: { data: query.data, answered } });
  await bot.stopPolling({ cancel: true });
});
const menu = await bot.sendMessage(CHATS.menu, "Menu", { reply_markup: MENU });
tell("polling", { result: { menu: menu.message_id } });
await bot.startPolling();
