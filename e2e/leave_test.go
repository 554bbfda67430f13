package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
)

// crowd is many clients, who read until they are killed. Its arguments are the
// server's address and how many they are; one of a hundred follows the topic
// "few".
func crowd(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	for i := range n {
		topic := ""
		if i%100 == 0 {
			topic = "?topic=few"
		}
		conn, err := dial(args[0], "/events"+topic, "")
		if err != nil {
			return fmt.Errorf("client %d: %w", i, err)
		}
		go func() { _, _ = io.Copy(io.Discard, conn) }()
	}
	fmt.Println("all are here")
	select {}
}

// dial opens a stream by hand and reads the first line of the response.
func dial(addr, path, lastID string) (*net.TCPConn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	header := ""
	if lastID != "" {
		header = "Last-Event-ID: " + lastID + "\r\n"
	}
	if _, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: e2e\r\n%s\r\n", path, header); err == nil {
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		var line string
		line, err = bufio.NewReaderSize(conn, 16).ReadString('\n') // hardly reads ahead
		if err == nil && !strings.HasPrefix(line, "HTTP/1.1 200") {
			err = errors.New(line)
		}
		_ = conn.SetReadDeadline(time.Time{})
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// A departure is the report of who has seen a crowd leave.
type departure struct {
	Freed   time.Duration // from the moment on when they were killed
	Publish time.Duration // the longest, from before that until after
	Events  int           // published in that time
	Left    int           // streams that are still there afterwards
}

// abandoned is a server whose crowd is killed while it publishes. Its arguments
// are the kind of streams, and how many.
func abandoned(args []string) error {
	clients, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	var closed atomic.Int64 // Stats would look at every stream
	hub := ssegin.NewHub(ssegin.WithObserver(ssegin.Observer{Closed: func(error, time.Duration) { closed.Add(1) }}))
	addr, stop, err := serve(&http.Server{Handler: events(hub, kinds[args[0]]...)}, hub)
	if err != nil {
		return err
	}
	defer stop()
	kill, err := bring(addr, args[1])
	if err != nil {
		return err
	}
	if n := hub.Stats().Streams; n != clients {
		return fmt.Errorf("%d streams", n)
	}
	ctx, end := context.WithCancel(context.Background())
	took := make(chan times)
	go func() { took <- publishBusily(ctx, hub) }()
	time.Sleep(time.Second)
	began := time.Now()
	kill()
	for closed.Load() < int64(clients) && time.Since(began) < patience {
		time.Sleep(time.Millisecond)
	}
	d := departure{Freed: time.Since(began)}
	time.Sleep(time.Second / 2)
	end()
	all := <-took
	d.Publish, d.Events, d.Left = all.max(), len(all), hub.Stats().Streams
	return printReport(d)
}

// bring lets a crowd come. Kill is kill -9: its kernel closes all connections.
func bring(addr, clients string) (kill func(), err error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, addr, clients)
	cmd.Env = append(os.Environ(), roleKey+"=crowd")
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return nil, fmt.Errorf("the crowd did not come: %q, %w", line, err)
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}, nil
}

// publishBusily publishes every 2 ms, to a few streams and five times a second
// to all, until ctx ends.
func publishBusily(ctx context.Context, hub *ssegin.Hub) (took times) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return took
		case <-tick.C:
		}
		took.note(func() {
			if i%100 == 0 {
				_, _ = hub.Broadcast(ctx, ssegin.Event{Data: i})
			} else {
				_, _ = hub.Publish(ctx, "few", ssegin.Event{Data: i})
			}
		})
	}
}

func TestFault_aCrowdThatLeavesAtOnceIsFreedWhilePublishingGoesOn(t *testing.T) {
	program, clients, limit, pause := thisProgram(t), "1000", patience, patience
	if long { // more goroutines than the race detector takes, on a machine that has nothing else to do
		program, clients, limit, pause = withoutRaceDetector(t), "9000", 3*time.Second, time.Second
	}
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			d := report[departure](t, startRole(t, program, "abandoned", kind, clients), 4*patience)
			t.Logf("%s clients leave at once, %s, while publishing: freed after %v; %d events published from one second before until half a second after, max publish %.1f ms",
				clients, kind, d.Freed.Round(time.Millisecond), d.Events, d.Publish.Seconds()*1e3)
			assert.Zero(t, d.Left)
			assert.Less(t, d.Freed, limit, "the goal is 1 s for 9,000")
			assert.Less(t, d.Publish, pause)
		})
	}
}

// withoutRaceDetector builds this program once more.
func withoutRaceDetector(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "e2e")
	out, err := exec.Command("go", "test", "-c", "-o", path, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}
