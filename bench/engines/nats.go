package engines

import (
	"encoding/json"
	"net/http"
	"os"
	"time"

	"github.com/ssegin/ssegin/bench/process"
	"github.com/ssegin/ssegin/natslog/embedded"
)

// A natsServer is a NATS server in a process of its own.
type natsServer struct {
	child *process.Child
	dir   string
}

// natsSetup is what its process is told.
type natsSetup struct {
	Dir  string
	Sync bool
}

func startNATS(dir string, sync bool) (running, error) {
	setup, err := json.Marshal(natsSetup{Dir: dir, Sync: sync})
	if err != nil {
		return nil, err
	}
	child, err := process.Start(natsRole, string(setup))
	if err != nil {
		return nil, err
	}
	return natsServer{child, dir}, nil
}

func (s natsServer) place() Place { return Place{NATS, s.child.Stream} }

func (s natsServer) cpu() (time.Duration, error) {
	usage, err := s.child.Usage()
	return usage.CPU, err
}

func (s natsServer) stop() {
	s.child.Stop()
	_ = os.RemoveAll(s.dir) // what is left of it does no harm
}

// serveNATS is the main function of the server's process.
func serveNATS(setup natsSetup) error {
	server, err := embedded.Start(embedded.Config{
		Dir: setup.Dir, Listen: "127.0.0.1:0", SyncAlways: setup.Sync,
	})
	if err != nil {
		return err
	}
	defer server.Close()
	return process.Serve(http.NotFoundHandler(), server.URL())
}
