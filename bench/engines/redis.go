package engines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// A redisServer is a redis-server in a process of its own.
type redisServer struct {
	cmd    *exec.Cmd
	output bytes.Buffer
	ended  chan struct{} // closed when the process has; the output may be read then
	client *redis.Client
	dir    string
}

const (
	redisStart = 10 * time.Second // until it answers
	redisPoll  = 5 * time.Millisecond
)

func startRedis(dir string, sync bool) (running, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("a real Redis is needed (on Debian: apt-get install redis-server): %w", err)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	when := "everysec"
	if sync {
		when = "always"
	}
	s := &redisServer{dir: dir, ended: make(chan struct{})}
	s.cmd = exec.Command(program, "--bind", "127.0.0.1", "--port", port, "--dir", dir,
		"--save", "", "--appendonly", "yes", "--appendfsync", when)
	s.cmd.Stdout = &s.output
	// It ends with this program, even if that is killed.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = s.cmd.Wait() // how it ends says nothing
		close(s.ended)
	}()
	s.client = redis.NewClient(&redis.Options{Addr: net.JoinHostPort("127.0.0.1", port)})
	if err := s.await(); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}

// await returns when the server answers.
func (s *redisServer) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), redisStart)
	defer cancel()
	for s.client.Ping(ctx).Err() != nil {
		select {
		case <-s.ended:
			return fmt.Errorf("redis-server has ended: %s", s.output.String())
		case <-ctx.Done():
			return errors.New("redis-server does not answer")
		case <-time.After(redisPoll):
		}
	}
	return nil
}

func (s *redisServer) place() Place { return Place{Redis, s.client.Options().Addr} }

// cpu counts all threads, and the processes that rewrite the file.
func (s *redisServer) cpu() (time.Duration, error) {
	info, err := s.info("cpu")
	if err != nil {
		return 0, err
	}
	total := 0.0
	for _, key := range []string{"used_cpu_sys", "used_cpu_user", "used_cpu_sys_children", "used_cpu_user_children"} {
		seconds, err := strconv.ParseFloat(info[key], 64)
		if err != nil {
			return 0, fmt.Errorf("%s of redis-server: %w", key, err)
		}
		total += seconds
	}
	return time.Duration(total * float64(time.Second)), nil
}

// inScripts are commands that only the script of package redislog calls. Redis
// counts them like those that clients send.
const inScripts = " time xinfo|stream xadd xtrim hmget hget hset hlen del unlink rename pttl pexpire persist "

// requests is how many commands clients have sent, but for INFO.
func (s *redisServer) requests() (int, error) {
	info, err := s.info("commandstats")
	if err != nil {
		return 0, err
	}
	n := 0
	for key, value := range info {
		name := strings.TrimPrefix(key, "cmdstat_")
		calls, _, _ := strings.Cut(strings.TrimPrefix(value, "calls="), ",")
		count, err := strconv.Atoi(calls)
		if err != nil {
			return 0, fmt.Errorf("%s of redis-server: %w", key, err)
		}
		if name != "info" && !strings.Contains(inScripts, " "+name+" ") {
			n += count
		}
	}
	return n, nil
}

func (s *redisServer) info(section string) (map[string]string, error) {
	text, err := s.client.Info(context.Background(), section).Result()
	if err != nil {
		return nil, fmt.Errorf("INFO of redis-server: %w", err)
	}
	values := make(map[string]string)
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			values[key] = value
		}
	}
	return values, nil
}

func (s *redisServer) stop() {
	s.client.Close()
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.ended
	_ = os.RemoveAll(s.dir) // what is left of it does no harm
}
