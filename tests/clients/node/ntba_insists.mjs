// node-telegram-bot-api 2 repeats by itself what is answered with a 5xx.
import { Api } from "node-telegram-bot-api";
import { CHATS, given, step } from "./telling.mjs";

const api = new Api(given.token, { apiRoot: given.url });

await step("text", async () => {
  const sent = await api.sendMessage({ chat_id: CHATS.text, text: "only once" });
  return { id: sent.message_id };
}, (error) => ({ code: error.errorCode }));
