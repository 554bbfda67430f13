package ssegintest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/ssegintest"
)

// The answer to an append is lost, and the publisher tries again.
func ExampleLog_LoseAnswers() {
	ctx, log := context.Background(), ssegintest.NewLog()
	e := eventlog.Entry{Topic: "room:7", Data: []byte("hello"), MessageID: "m1"}
	log.LoseAnswers(1)
	_, err := log.Append(ctx, e)
	fmt.Println(err)
	receipt, err := log.Append(ctx, e)
	fmt.Println(receipt.Position, err)
	// Output:
	// ssegintest: the answer was lost
	// 1000 <nil>
}

// A backup is restored: the newest entries are gone, and their positions are
// given again.
func ExampleLog_Rollback() {
	ctx, log := context.Background(), ssegintest.NewLog()
	for _, text := range []string{"a", "b", "c"} {
		_, _ = log.Append(ctx, eventlog.Entry{Data: []byte(text)})
	}
	log.Rollback(2)
	_, _ = log.Append(ctx, eventlog.Entry{Data: []byte("d")})
	for e, err := range log.Read(ctx, 0, 2000) {
		fmt.Println(e.Position, string(e.Data), err)
	}
	// Output:
	// 1000 a <nil>
	// 1001 d <nil>
}

// Whoever writes a Log has a test like this one. The functions of LogFaults say
// how to break the engine, and may be left out.
func ExampleTestLog() {
	_ = func(t *testing.T) {
		ssegintest.TestLog(t, func(*testing.T) eventlog.Log {
			return ssegintest.NewLog() // yours, on a new and empty log of the engine
		}, ssegintest.LogFaults{
			Renew: func(_ *testing.T, log eventlog.Log) { log.(*ssegintest.Log).Renew() },
		})
	}
}
