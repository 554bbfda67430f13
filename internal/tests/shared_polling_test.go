package tests

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

// A response that tells of a gap while its client catches up has what a newcomer gets
// after that, too. The gap gives the client no ID then: it would come back as it came and
// be told again, or, as a plain one, never get what is older than the gap's place.
func TestWithPolling_aGapComesWithWhatANewcomerGets(t *testing.T) {
	for name, opts := range map[string][]ssegin.StreamOption{"native": nil, "plain": {ssegin.WithPlain()}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := ssegintest.NewLog()
				n := start(t, log, ssegin.WithHistory(2, 0, 0))
				ids := n.fill(t, "x", 20)
				srv := serve(t, route(polling(n.hub, append(opts, ssegin.WithReplay(ssegin.ReplayEach(5)), ssegin.OnReset(func(s *ssegin.Stream, r ssegin.Reset) {
					assert.NoError(t, s.Send(ssegin.Event{Data: "snapshot after " + string(r.Reason)}))
				}))...)))
				require.Len(t, ask(t, srv, "?topic=x", ids[5]).own(), 14)
				time.Sleep(3 * time.Minute) // of the page its trace is left
				log.Trim(15)
				var got []string
				for id, polls := ids[7], 0; polls < 3; polls++ {
					p := ask(t, srv, "?topic=x", id)
					got = append(got, p.own()...)
					if p.lastID == id { // no event had an ID
						p.lastID = p.Header.Get("Last-Event-ID")
					}
					id = p.lastID
				}
				assert.Equal(t, []string{"snapshot after expired", "16", "17", "18", "19", "20"}, got)
			})
		})
	}
}
