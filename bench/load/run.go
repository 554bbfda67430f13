package load

import "github.com/ssegin/ssegin/bench/process"

// Run is the main loop of a load process: a pool that its parent controls.
func Run() error {
	p, err := NewPool()
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	go func() { failed <- p.Run() }()
	go func() { failed <- process.Serve(Control(p), "") }()
	return <-failed
}
