package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin"
)

// publishNumbers publishes 1, 2, 3 and so on, each when the log has the one
// before. So of one life of a process no number may be missing: where it was
// killed the series ends, and the last one is there or not.
func (w *worker) publishNumbers(ctx context.Context) {
	ticker := time.NewTicker(time.Second / time.Duration(w.rate))
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := w.insist(ctx, ssegin.Event{
			Type:      "number",
			Data:      gin.H{"from": w.worker, "run": w.run, "n": n},
			MessageID: fmt.Sprintf("number %s %d %d", w.worker, w.run, n),
		}); err != nil {
			if ctx.Err() == nil {
				log.Printf("no more numbers: %v", err)
			}
			return
		}
		w.report(report{Published: n})
	}
}

// insist publishes e, however long NATS is away. The message ID keeps it from
// being there twice.
func (w *worker) insist(ctx context.Context, e ssegin.Event) error {
	for {
		_, err := w.hub.Broadcast(ctx, e)
		if !errors.Is(err, ssegin.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
	}
}
