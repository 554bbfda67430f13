package ssegin

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheckOf_tellsEntriesApart(t *testing.T) {
	at := time.Unix(1, 1)
	base := Entry{Position: 1, Time: at, Topic: "t", Type: "y", Data: []byte("d")}
	seen := map[check]string{}
	for name, change := range map[string]func(*Entry){
		"nothing":             func(*Entry) {},
		"the time":            func(e *Entry) { e.Time = at.Add(1) },
		"the topic":           func(e *Entry) { e.Topic = "u" },
		"the type":            func(e *Entry) { e.Type = "z" },
		"the end":             func(e *Entry) { e.End = true },
		"the data":            func(e *Entry) { e.Data = []byte("e") },
		"what belongs where":  func(e *Entry) { e.Topic, e.Type = "ty", "" },
		"a message ID":        func(e *Entry) { e.MessageID = "m" },
		"another message ID":  func(e *Entry) { e.MessageID = "n" },
		"an empty data field": func(e *Entry) { e.Data = []byte{} },
	} {
		e := base
		change(&e)
		c := checkOf(&e)
		assert.Empty(t, seen[c], "%s looks like this", name)
		seen[c] = name
	}
	moved, known := base, Entry{MessageID: "m"}
	moved.Position = 2
	assert.Equal(t, checkOf(&base), checkOf(&moved), "the position is beside it")
	same := base
	same.MessageID = "m"
	assert.Equal(t, checkOf(&known), checkOf(&same), "of an entry with a message ID a publisher knows nothing else")
	same.MessageID, same.Time = "", at.UTC()
	assert.Equal(t, checkOf(&base), checkOf(&same), "every process reads the same moment")
}

func TestCheckOf_isNeverNothingAndFits(t *testing.T) {
	for n := range 10_000 {
		c := checkOf(&Entry{MessageID: fmt.Sprint(n)})
		require.NotZero(t, c)
		require.Less(t, c, check(1<<(5*checkLetters)))
	}
}

func TestMark_isWhatIsKnown(t *testing.T) {
	assert.True(t, mark{1, 5}.is(5))
	assert.False(t, mark{1, 5}.is(6))
	assert.True(t, mark{1, 0}.is(6))
	assert.True(t, mark{1, 5}.is(0))
}

func TestEpochOf_isAnEpochOfItsOwnForEachText(t *testing.T) {
	seen := map[string]bool{}
	for n := range 10_000 {
		epoch := epochOf(fmt.Sprint(n))
		require.False(t, seen[epoch])
		seen[epoch] = true
		_, _, ok := parseID(epoch + "-1")
		require.True(t, ok, epoch)
	}
	assert.True(t, seen[epochOf("7")], "always the same")
}
