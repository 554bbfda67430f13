package ssegin

import (
	crand "crypto/rand"
	"fmt"
	"hash/fnv"

	"github.com/ssegin/ssegin/eventlog"
)

// The seam to an engine of several processes; see WithLog.
type (
	// A Log is an engine's log, which the hubs of several processes share.
	Log = eventlog.Log
	// An Entry is one event in a Log.
	Entry = eventlog.Entry
	// Bounds are what a Log holds.
	Bounds = eventlog.Bounds
)

// typeDisconnect is the type of an entry that is no event: each process that comes to it
// ends its streams of that topic. It is never sent, and versions that do not know it pass
// over it as over anything that cannot be.
const typeDisconnect = reservedPrefix + "disconnect"

// disconnects reports whether an entry is one that ends the streams of its topic.
func disconnects(e *Entry) bool { return e.Type == typeDisconnect && checkTopic(e.Topic) == nil }

// entryOf returns e as an entry that every process can send, and its size as
// encoded.
func entryOf(p publication, limit int) (entry Entry, size int, err error) {
	e := &p.event
	text, buffer, err := e.text()
	if err != nil {
		return Entry{}, 0, err
	}
	defer buffer.release()
	entry = Entry{Topic: p.topic, Type: e.Type, Retry: e.Retry, End: p.end, MessageID: e.MessageID}
	if len(p.others) > 0 {
		entry.Topic, entry.Topics = eventlog.SeveralTopics, append([]string{p.topic}, p.others...)
	}
	if e.Data != nil {
		entry.Data = append([]byte{}, text...)
	}
	if entry.MessageID == "" {
		entry.MessageID = crand.Text()
	}
	block, err := blockOf(&entry, limit)
	return entry, len(block), err
}

// blockOf encodes an entry. Another program may have written it, so it is
// checked like the event that it should have been.
func blockOf(e *Entry, limit int) ([]byte, error) {
	event := Event{Type: e.Type, Retry: e.Retry}
	if e.Data != nil {
		event.Data = e.Data
	}
	if e.Type != typeEnd || !e.End {
		if err := event.check(); err != nil {
			return nil, err
		}
	}
	first, others := entryTopics(e)
	if first != "" || e.Topic != "" {
		if err := checkTopic(first); err != nil {
			return nil, err
		}
	}
	for _, topic := range others {
		if err := checkTopic(topic); err != nil {
			return nil, err
		}
	}
	return event.block(maxIDTail, limit)
}

// entryTopics returns the topic of an entry, and those that it has beside that one.
// Another program may have written one twice.
func entryTopics(e *Entry) (first string, others []string) {
	if e.Topic != eventlog.SeveralTopics || len(e.Topics) == 0 {
		return e.Topic, nil
	}
	topics := distinct(e.Topics)
	return topics[0], topics[1:]
}

// checkOf returns the check of an entry. The message ID is all that a publisher
// knows as well as those who read; entries of other programs may have none.
func checkOf(e *Entry) check {
	h := fnv.New64a()
	if e.MessageID != "" {
		_, _ = h.Write([]byte(e.MessageID)) // a hash takes everything
	} else {
		_, _ = fmt.Fprintf(h, "%d %q %q %t ", e.Time.UnixNano(), e.Topic, e.Type, e.End)
		_, _ = h.Write(e.Data)
	}
	sum := h.Sum64()
	return max(1, check(sum^sum>>32)&(1<<(5*checkLetters)-1))
}
