package redislog

import (
	"context"
	_ "embed" // the script
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/ssegin/ssegin/eventlog"
)

//go:embed log.lua
var source string

// script is sent by its digest, and whole when the server does not know it.
var script = redis.NewScript(source)

// Script returns the Lua script with which everything is appended, so that other
// programs can do so too; the package documentation says how. Its comments say
// what it takes and gives.
func Script() string { return source }

// await makes a call and returns as soon as it has its answer or ctx ends: the
// client itself looks at ctx only before it sends and between its tries, unless it
// is told otherwise, and then only at the deadline. A call that is left behind
// ends with the client's own timeouts.
func await[T any](ctx context.Context, call func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1) // holds one: it may be that nobody waits for it any more
	if ctx.Err() == nil {
		go func() {
			value, err := call()
			answers <- answer{value, err}
		}()
	}
	var none T
	select {
	case a := <-answers:
		if a.err != nil && ctx.Err() != nil {
			return none, context.Cause(ctx)
		}
		return a.value, a.err
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// refusals are what errors begin with, or with ERR before it, that stay until
// somebody changes the entry or the settings.
var refusals = []string{
	"NOPERM", "NOAUTH", "WRONGPASS", "WRONGTYPE", // who we are, what lies under our keys
	"ACL failure", "The user executing the script", // how scripts say NOPERM, before Redis 7 and in it
	"unknown command", "Unknown Redis command", // a server too old, or renamed commands
	"Protocol error", "invalid bulk length", "string exceeds maximum allowed size", // too large
}

// judge tells errors that no retry can mend.
func judge(err error) error {
	var said redis.Error
	if !errors.As(err, &said) {
		return err
	}
	text := strings.TrimPrefix(said.Error(), "ERR ")
	for _, refusal := range refusals {
		if strings.HasPrefix(text, refusal) {
			return fmt.Errorf("%w: %w", eventlog.ErrRefused, err)
		}
	}
	return err
}
