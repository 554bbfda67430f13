package response

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A code is a number of a type of its own, as quic-go's is.
type code uint64

// A halves stream notes what is done to it.
type halves struct{ done []any }

func (s *halves) CancelWrite(c code) { s.done = append(s.done, "write", c) }
func (s *halves) CancelRead(c code)  { s.done = append(s.done, "read", c) }

// An over3 writer is like that of quic-go; see e2e for the very one.
type over3 struct {
	http.ResponseWriter
	stream halves
}

func (w *over3) SetWriteDeadline(until time.Time) error {
	w.stream.done = append(w.stream.done, until.Before(time.Now()))
	return nil
}

func (w *over3) HTTPStream() *halves { return &w.stream }

func TestAbortStream_resetsBothDirectionsAndDoesNotWait(t *testing.T) {
	w := &over3{}
	assert.True(t, abortStream(w))
	assert.Equal(t, []any{true, "write", code(0x10c), "read", code(0x10c)}, w.stream.done)
}

// What has a method of that name and means something else is not called.
func TestAbortStream_leavesOtherWritersAlone(t *testing.T) {
	for _, w := range []http.ResponseWriter{httptest.NewRecorder(), asks{}, nothing{}, other{}, oneWay{}} {
		assert.False(t, abortStream(w), "%T", w)
	}
}

type (
	asks    struct{ http.ResponseWriter }
	nothing struct{ http.ResponseWriter }
	other   struct{ http.ResponseWriter }
	oneWay  struct{ http.ResponseWriter }
	writing struct{}
)

func (asks) HTTPStream(int) *halves      { panic("called") }
func (nothing) HTTPStream()              { panic("called") }
func (other) HTTPStream() *http.Request  { panic("called") }
func (oneWay) HTTPStream() *writing      { panic("called") }
func (*writing) CancelWrite(code)        {}
func (*writing) CancelRead(reason error) {}
