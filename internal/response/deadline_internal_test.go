package response

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A connection outlives the streams on it.
func TestDeadline_leavesTheConnectionAloneOnceItsHandlerHasReturned(t *testing.T) {
	moved := 0
	d := &deadline{conn: counting{&moved}, timeout: time.Second}
	d.arm(time.Now())
	d.cut()
	assert.Equal(t, 2, moved)

	moved = 0
	d = &deadline{conn: counting{&moved}, timeout: time.Second}
	d.close()
	d.cut()
	d.arm(time.Now())
	d.last()
	assert.Zero(t, moved)
}

type counting struct{ moved *int }

func (c counting) SetWriteDeadline(time.Time) error {
	*c.moved++
	return nil
}
