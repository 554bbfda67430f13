package response

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A handler's large event under Middleware leaves no room behind either, and what
// is written in small pieces is not copied for each.
func TestPartial_keepsNoRoomOfALargeEvent(t *testing.T) {
	p := &partial{}
	large := "data: " + strings.Repeat("x", 1<<20) + "\n\n"
	for piece := range strings.SplitSeq(large, "") {
		p.keep(len(p.add([]byte(piece), 0)))
	}
	assert.Zero(t, cap(p.held))
	p.keep(len(p.add([]byte("data: small\n\n"), 0)))
	before := cap(p.held)
	p.keep(len(p.add([]byte("data: small\n\n"), 0)))
	assert.Equal(t, before, cap(p.held), "the room of small ones is used again")
	assert.LessOrEqual(t, before, WriteBytes)
}
