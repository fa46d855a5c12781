-- needs: bots
-- KEYS: the bots' `b`. ARGV from 3: bots. Answers for each who holds it, and until when.
return for_each_bot(function(bot)
  return call('HMGET', bot.k.b, 'holder', 'until')
end)
