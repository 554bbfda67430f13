package engines

import (
	"fmt"
	"os"
	"testing"
)

// TestMain lets the test binary be the engine, the hubs and the clients, as the
// program is when it measures.
func TestMain(m *testing.M) {
	// Under the race detector each child would sleep for a second at its end.
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	ran, err := Child(os.Args[1:])
	switch {
	case !ran:
		os.Exit(m.Run())
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
