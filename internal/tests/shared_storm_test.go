package tests

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/ssegintest"
)

// forged returns an ID at the same place, of an event that never was.
func forged(id string) string { return id[:strings.LastIndex(id, "-")] + "-aaaab" }

// Whoever waits to be told that an ID is of no event of this log costs the engine a share
// of a question, and nobody else any time.
func TestCrowd_forgedIDsThatWaitForTheirAnswerHoldNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const events, each = 2000, 5 // each millisecond
		c := newCrowd(t, events, 10<<10, 20*time.Millisecond)
		resume := func(n int) time.Duration {
			begin := time.Now()
			s := connect(t, c.srv, "?topic=past", withLastID(c.ids[n]))
			defer s.Close()
			next(t, s)
			return time.Since(begin)
		}
		alone := resume(events - 100)
		before := c.engine.Requests().Bounds
		var storm sync.WaitGroup
		for n := range 400 {
			for i := range each {
				storm.Go(func() {
					s := request(t, c.srv, "?topic=past", withLastID(forged(c.ids[(n*each+i)*7919%events])))
					defer s.Close()
					requireReset(t, s, ssegin.ReasonEpoch)
				})
			}
			time.Sleep(time.Millisecond)
			if n >= 200 && n%20 == 0 { // each page has been read once by now
				assert.LessOrEqual(t, resume(n*4), 2*alone)
				assert.Zero(t, c.hub.Stats().EngineDown)
			}
		}
		storm.Wait()
		assert.LessOrEqual(t, c.engine.Requests().Bounds-before, 20, "one in 50 ms")
		assert.Zero(t, c.hub.Stats().CatchingUp)
	})
}

// All that is on its way when Shutdown is called ends within its window, and nothing is
// left, whatever clients have claimed and the engine does.
func TestShutdown_atAnyMomentOfACrowd(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 9))
			drain := time.Duration(r.IntN(3)) * 100 * time.Millisecond
			c := newCrowd(t, 1000, 10, time.Duration(r.IntN(80))*time.Millisecond, ssegin.WithDrain(drain))
			polls := serve(t, route(ssegin.Handler(c.hub, withTopics(), ssegin.WithPolling(2*time.Second))))
			var all sync.WaitGroup
			for range 40 {
				srv, id, plain, after := c.srv, c.ids[r.IntN(1000)], r.IntN(2) == 0, time.Duration(r.IntN(600))*time.Millisecond
				if r.IntN(3) == 0 {
					srv = polls
				}
				switch r.IntN(5) {
				case 0:
					id = forged(id)
				case 1:
					id = id[:10] + "-99999999-aaaab" // of the future
				case 2:
					id = "aaaaaaaaaa" + id[10:] // of another log
				}
				all.Go(func() {
					time.Sleep(after)
					opts := []ssegintest.ConnectOption{withLastID(id)}
					if plain {
						opts = append(opts, ssegintest.WithHeader("Accept", "application/json"))
					}
					s := request(t, srv, "?topic=past", opts...)
					var err error
					for err == nil {
						_, err = s.NextBlock(t.Context())
					}
				})
			}
			time.Sleep(time.Duration(r.IntN(400)) * time.Millisecond)
			[]func(){c.engine.Hang, func() { c.engine.Away(nil) }, c.engine.Renew, func() { c.engine.Rollback(7) }, func() {}}[r.IntN(5)]()
			time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
			begin := time.Now()
			require.NoError(t, c.hub.Shutdown(t.Context()))
			assert.LessOrEqual(t, time.Since(begin), drain+100*time.Millisecond, "seed %d", seed)
			synctest.Wait()
			stats := c.hub.Stats()
			assert.Zero(t, stats.Streams+stats.CatchingUp+stats.Arriving)
			all.Wait()
		})
	}
}

// A crowd catches up, slowly and cut now and then, while others are live: each gets all
// events of its topics once, in order, and in the end every place is free again.
func TestCrowd_andThoseWhoAreLiveGetEverythingOnce(t *testing.T) {
	const before, total, topics, each = 1000, 1500, 4, 2
	for seed, history := range []int{20, 200} {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(seed), 11))
			e := &engine{Log: ssegintest.NewLog(), takes: 15 * time.Millisecond}
			n := start(t, e, ssegin.WithHistory(history, 0, 0), ssegin.WithMaxStreamsPer(func(c *gin.Context) string { return c.Query("key") }, each))
			polls := serve(t, route(ssegin.Handler(n.hub, withTopics(), ssegin.WithPolling(2*time.Second))))
			var ids []string
			of := make([][]string, total)
			for i := range of {
				of[i] = slices.Compact([]string{"t" + strconv.Itoa(r.IntN(topics)), "t" + strconv.Itoa(r.IntN(topics))})
			}
			publish := func(events [][]string) {
				for _, topics := range events {
					id, err := n.hub.PublishTo(t.Context(), topics, ssegin.Event{Data: strconv.Itoa(len(ids))})
					require.NoError(t, err)
					if ids = append(ids, id); len(ids)%40 == 0 {
						disconnect(t, n.hub, "nobody") // which is an entry of the log, too
					}
					if len(ids) > before {
						time.Sleep(2 * time.Millisecond)
					}
				}
			}
			publish(of[:before])
			synctest.Wait()
			past := slices.Clone(ids)
			var all sync.WaitGroup
			follow := func(srv *ssegintest.Server, key, topic string, after int, slow bool) {
				r := rand.New(rand.NewPCG(uint64(seed), uint64(after)))
				path := "?key=" + key + "&topic=" + topic
				s := request(t, srv, path, withLastID(past[after]))
				defer func() { s.Close() }()
				begin := time.Now()
				for i := after + 1; i < total; i++ {
					for slices.Contains(of[i], topic) {
						got, err := s.Next(t.Context())
						if err != nil {
							require.Less(t, time.Since(begin), time.Hour)
							time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
							s = request(t, srv, path, withLastID(s.LastEventID()))
							continue
						}
						if strings.HasPrefix(got.Type, "ssegin.") && got.Type != "ssegin.reset" {
							continue
						}
						require.Equal(t, strconv.Itoa(i), got.Data)
						if slow && r.IntN(100) == 0 {
							s.Cut()
						}
						break
					}
				}
			}
			for k := range 10 {
				all.Go(func() { follow(n.srv, "live"+strconv.Itoa(k), "t"+strconv.Itoa(k%topics), before-1, false) })
			}
			for k := range 60 {
				srv, after := n.srv, r.IntN(before-history)
				if k%3 == 0 {
					srv = polls
				}
				all.Go(func() { follow(srv, "crowd"+strconv.Itoa(k), "t"+strconv.Itoa(k%topics), after, true) })
			}
			publish(of[before:])
			all.Wait()
			synctest.Wait()
			time.Sleep(time.Minute) // a poll that was cut is noticed when it answers
			stats := n.hub.Stats()
			assert.Zero(t, stats.Streams+stats.CatchingUp+stats.Arriving)
			assert.Zero(t, stats.Resets)
			assert.Zero(t, stats.EngineDown)
			for k := range 60 {
				for range each {
					connect(t, n.srv, "?key=crowd"+strconv.Itoa(k))
				}
				requireEnd(t, request(t, n.srv, "?key=crowd"+strconv.Itoa(k)))
			}
			assert.Equal(t, 60*each, n.hub.Stats().Streams)
		})
	}
}
