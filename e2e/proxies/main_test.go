package proxies

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/gin-gonic/gin"
)

var (
	update = flag.Bool("update", false, "write the table that was found into docs/proxies.md")

	// long is set where the faults are made in full, which takes minutes.
	long = os.Getenv("SSEGIN_LONG") != ""

	// programs are the proxies that are programs, and where they are.
	programs = map[string]string{"apache2": "", "caddy": "", "haproxy": "", "nginx": "", "squid": "", "varnishd": ""}
)

// roleKey names the variable of the environment that makes this program the
// application that is to crash.
const roleKey = "SSEGIN_E2E_ROLE"

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	if os.Getenv(roleKey) != "" {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(1) // whoever started this is gone
		}()
		if err := serveForEver(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	for name := range programs {
		path, err := find(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, "e2e/proxies:", err)
			os.Exit(1)
		}
		programs[name] = path
	}
	// The tests mostly wait, so there may be more of them at a time than cores.
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil {
		fmt.Fprintln(os.Stderr, "e2e/proxies:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// find fails rather than skips: a test that did not run proves nothing.
func find(name string) (path string, err error) {
	for _, try := range []string{name, "/usr/sbin/" + name} { // which is not in every user's PATH
		if path, err = exec.LookPath(try); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("these tests need %s, and it is not here: make e2e-deps installs it: %w", name, err)
}
