package embedded

import (
	"fmt"
	"log/slog"
	"sync"
)

// A logger passes on what the server reports, and remembers the worst, which is
// the reason when it does not start.
type logger struct {
	to *slog.Logger

	mu    sync.Mutex
	worst string
	over  bool // the server has given up
}

func (l *logger) Noticef(format string, v ...any) { l.to.Info(fmt.Sprintf(format, v...)) }
func (l *logger) Warnf(format string, v ...any)   { l.to.Warn(fmt.Sprintf(format, v...)) }
func (l *logger) Debugf(format string, v ...any)  { l.to.Debug(fmt.Sprintf(format, v...)) }
func (l *logger) Tracef(format string, v ...any)  { l.to.Debug(fmt.Sprintf(format, v...)) }

func (l *logger) Errorf(format string, v ...any) { l.bad(fmt.Sprintf(format, v...), false) }

// Fatalf does not end the process, which is not the server's.
func (l *logger) Fatalf(format string, v ...any) { l.bad(fmt.Sprintf(format, v...), true) }

func (l *logger) bad(text string, over bool) {
	l.mu.Lock()
	if over || !l.over {
		l.worst, l.over = text, over
	}
	l.mu.Unlock()
	l.to.Error(text)
}

func (l *logger) fatal() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}

func (l *logger) reason() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.worst == "" {
		return "it took too long"
	}
	return l.worst
}
