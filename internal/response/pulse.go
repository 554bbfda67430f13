package response

import "time"

// A pulse is the heartbeat of a stream without a loop.
type pulse struct {
	every time.Duration
	beat  []byte
	timer *time.Timer // nil until the stream begins
	wrote time.Time   // when something was written last
}

// stop lets it rest. Without a pulse, and before it begins, there is nothing to do.
func (p *pulse) stop() {
	if p != nil && p.timer != nil {
		p.timer.Stop()
	}
}

// goOn begins it anew.
func (p *pulse) goOn() {
	if p != nil && p.timer != nil {
		p.timer.Reset(p.every)
	}
}

// heartbeat writes a comment when the stream has been idle for long enough, and no
// event is on its way in pieces.
func (w *Writer) heartbeat() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase != streaming || w.err != nil {
		return
	}
	rest := w.pulse.every - time.Since(w.pulse.wrote)
	if rest <= 0 {
		rest = w.pulse.every
		if w.draft.loose || w.owner.Silent() {
			w.pulse.wrote = time.Now()
		} else if now := time.Now(); w.writeLocked(w.pulse.beat, now) != nil || w.flushLocked(now) != nil {
			return
		}
	}
	w.pulse.timer.Reset(rest)
}
