package engines

import (
	"encoding/json"
	"fmt"

	"github.com/ssegin/ssegin/bench/load"
)

// The roles in which the program starts itself again, most of them with a setup
// in JSON.
const (
	natsRole   = "nats"
	hubRole    = "hub"
	readerRole = "reader"
	bareRole   = "bare"
	loadRole   = "load"
)

// Child runs this process in one of its roles if its arguments say so, and
// returns when its parent lets go. Otherwise it returns false at once.
func Child(args []string) (ran bool, err error) {
	switch {
	case len(args) == 1 && args[0] == readerRole:
		return true, serveReader()
	case len(args) == 1 && args[0] == loadRole:
		return true, load.Run()
	case len(args) == 2 && args[0] == natsRole:
		return true, as(args[1], serveNATS)
	case len(args) == 2 && args[0] == hubRole:
		return true, as(args[1], serveHub)
	case len(args) == 2 && args[0] == bareRole:
		return true, as(args[1], serveBare)
	default:
		return false, nil
	}
}

// as runs serve with the setup in text.
func as[S any](text string, serve func(S) error) error {
	var setup S
	if err := json.Unmarshal([]byte(text), &setup); err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	return serve(setup)
}
