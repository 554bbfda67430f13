package ssegintest

// The rules of eventlog.Log that TestLog checks, in its own words: a test
// looks each of them up there.
const (
	ruleCount = "counted up by exactly 1 in the order of the log, from any start above 0"
	ruleSame  = "All processes see the same entries in the same order at the same positions."
	ruleFront = "Old entries leave at the front only."
	ruleHole  = "Where an entry is missing in the middle, because somebody has deleted it in the engine, the hub tells its streams that there is a gap."

	ruleEpoch = "It is any text that was not used before and is the same in all processes; it changes when the log is made anew, so that no old position is taken for a new one."

	ruleErrors  = "It returns the first error as soon as it has it, and wraps what the engine said."
	ruleRefused = "An error that no retry can mend wraps [ErrRefused], or is a [ConflictError]."

	ruleAppend     = "Append puts e at the end and returns where it lies, once the engine says that it is kept"
	ruleUntouched  = "It sets nothing of e, ignores e.Position and e.Time, and does not keep e.Data."
	ruleOnce       = "the same e.MessageID, appended again within the time that the engine remembers it (minutes), is there once"
	ruleFirst      = "Append then returns the receipt of the first."
	ruleReceipt    = "The epoch of the receipt is that of the life in which the entry lies, also when the log is made anew in that very moment: whoever reads the entry at that position finds it under that epoch."
	ruleIf         = "AppendIf appends e as Append does, on one condition: newest says where the newest entry of e.Topic is."
	ruleNone       = "Its position is 0 if the log holds none of that topic, and if its epoch is not empty, the log has to be in that life."
	ruleOneWins    = "Judging and appending are one step: of any number that name the same newest entry at the same time, one succeeds."
	ruleOthers     = "Entries of other topics do not matter."
	ruleSeveral    = "it is judged by the newest of several topics, whichever these are, and it is not the newest of any of them."
	ruleConflict   = "Where the condition does not hold nothing is appended, and the error is a *ConflictError, which says what stands."
	ruleRetried    = "A message that was appended already is answered with its receipt before the condition is judged, whatever has followed it."
	ruleLeft       = "when the newest entry of a topic has left at the front, there is none, as if there had never been one, and whoever names it is refused."
	ruleBack       = "After a rollback the condition is judged by what is there now: whoever names an entry that is gone is refused"
	ruleNext       = "To be the next it can be given to AppendIf as it is."
	ruleMessageID  = "MessageID tells this entry from all others, and an append that is tried again from a new one."
	ruleFollow     = "Follow calls deliver with every entry after that position, in order, first those that are there and then each new one soon after it was appended"
	ruleUntil      = "until ctx ends, deliver returns an error, or it cannot go on."
	ruleOneAtATime = "It calls deliver from one goroutine at a time, never after it has returned, and does not use e.Data again."
	ruleReturn     = "It returns the cause of ctx, the error of deliver, or its own, never nil."
	ruleOldest     = "When entries after that position have left, it begins with the oldest there is."
	ruleVouch      = "It returns an error as soon as it cannot vouch that the next entry follows the last one in the same life of the log"
	ruleRead       = "Read gives the entries after one position and up to another, in order, as far as they are still there: what has left at the front is left out."
	ruleReadEnds   = "It ends after the first error."
	ruleTopicRead  = "ReadTopic gives the entries of that topic after one position and up to another, in order, as Read does; if last is above 0, no more than that many, the newest of them."
	ruleTopicAll   = "What it gives was in the log, at these positions, and nothing that was acknowledged before the call is left out, unless it has left at the front or was deleted."
	ruleBounds     = "Bounds says what there is now, as the engine has it, not from a memory of the Log's own."
	ruleMade       = "Where the log does not exist, it is made."

	ruleTime    = "when the log took it, by the engine's clock; it never changes"
	ruleTopics  = "Topics are those of an entry of several topics, each once; Topic is SeveralTopics then. An entry of one topic has none."
	ruleTopic   = `any text without CR, LF or NUL, up to 1 KiB; "" is everybody`
	ruleType    = "any text without CR, LF or NUL"
	ruleData    = "any bytes; nil, which is not the same as empty, means no data"
	ruleEntry   = "An Entry is one event in a log, in its parts"
	ruleOld     = "position of the oldest entry; Last+1 when there is none"
	ruleNew     = "position of the newest entry that there ever was in this life; one below the start before the first"
	ruleNewTime = "LastTime is the Time of the entry at Last, also when that has left; it is zero before the first entry of this life."
)
