package run

import (
	"encoding/json"
	"fmt"

	"github.com/ssegin/ssegin/bench/load"
	"github.com/ssegin/ssegin/bench/servers"
)

// The roles in which the program starts itself again.
const (
	serveRole = "serve" // with a servers.Setup in JSON
	loadRole  = "load"
)

// Child runs this process as a server or a load generator if its arguments say
// so, and returns when its parent lets go. Otherwise it returns false at once.
func Child(args []string) (ran bool, err error) {
	switch {
	case len(args) == 2 && args[0] == serveRole:
		var setup servers.Setup
		if err := json.Unmarshal([]byte(args[1]), &setup); err != nil {
			return true, fmt.Errorf("serve: %w", err)
		}
		return true, servers.Run(setup)
	case len(args) == 1 && args[0] == loadRole:
		return true, load.Run()
	default:
		return false, nil
	}
}
