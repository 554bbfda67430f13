package tests

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/ssegintest"
)

// Rights are what an application knows of its users. Looking at them takes a while.
type rights struct {
	users sync.Map
	asked atomic.Int64
}

func (r *rights) topics(c *gin.Context) ([]string, error) {
	r.asked.Add(1)
	user := c.Query("user")
	_, ok := r.users.Load(user)
	pause(c)
	if !ok {
		return nil, errNoRight
	}
	return []string{user, "all"}, nil
}

// A member is one process of those that share a log and the rights.
type member struct {
	*node
	wire *wire
}

func (r *rights) join(t *testing.T, log eventlog.Log, history int) *member {
	w := newWire(log)
	n := start(t, w, ssegin.WithHistory(history, 0, 0), ssegin.WithPublishTimeout(time.Second))
	n.srv = serve(t, route(ssegin.Handler(n.hub, ssegin.WithTopics(r.topics), ssegin.WithRetry(time.Millisecond))))
	return &member{n, w}
}

// insistDisconnect calls Disconnect until it returns nil.
func insistDisconnect(t *testing.T, m *member, topic string) {
	t.Helper()
	for {
		_, err := m.hub.Disconnect(t.Context(), topic)
		if err == nil {
			return
		}
		require.ErrorIs(t, err, ssegin.ErrUnavailable)
		m.wire.set(inTouch)
	}
}

// listens reads what a user is given, from connection to connection, until it is
// refused, and counts what it must not get. A minute is too long, and counts, too.
func listens(t *testing.T, srv *ssegintest.Server, user, lastID string) (secrets int) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		s, err := srv.Connect(ctx, "/events?user="+user, withLastID(lastID))
		switch {
		case ctx.Err() != nil:
			return secrets + 1
		case err != nil || s.Response().StatusCode == http.StatusForbidden:
			return secrets
		}
		for e, err := range s.Events(ctx) {
			if err != nil {
				break
			}
			if e.Data == "secret" {
				secrets++
			}
		}
		lastID = s.LastEventID()
		s.Close()
		time.Sleep(time.Millisecond)
	}
}

// Rights end at one process, at any moment, while the user's client is at another that
// is behind, loses touch, or has just begun, comes to it, catches up there, or is sent
// from one life of the log to the next.
func TestDisconnect_overAnEngineReachesEveryProcess(t *testing.T) {
	tries := 400
	if os.Getenv("SSEGIN_LONG") != "" {
		tries = 10_000
	}
	for _, history := range []int{3, 1000} {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(61, uint64(history)))
			log := ssegintest.NewLog(ssegintest.WithMaxEntries(500))
			var rights rights
			members := make([]*member, 3)
			for i := range members {
				members[i] = rights.join(t, log, history)
			}
			ids := []string{""}
			secrets, faults := 0, map[string]int{}
			for n := range tries / 2 {
				if r.IntN(20) == 0 { // a process ends, and another begins
					i := r.IntN(3)
					members[i].wire.set(inTouch)
					require.NoError(t, members[i].hub.Shutdown(t.Context()))
					members[i] = rights.join(t, log, history)
				}
				user := fmt.Sprint("user:", n)
				rights.users.Store(user, true)
				at, by := members[r.IntN(3)], members[r.IntN(3)]
				var client sync.WaitGroup
				var got int
				lastID := ids[r.IntN(len(ids))]
				client.Go(func() { got = listens(t, at.srv, user, lastID) })
				time.Sleep(time.Duration(r.Int64N(int64(3 * time.Millisecond))))
				fault := []string{"none", "none", "blind", "frozen", "cut", "dropped", "rolled back"}[r.IntN(7)]
				switch faults[fault]++; fault {
				case "blind":
					at.wire.set(blind)
				case "frozen":
					at.wire.set(frozen)
				case "cut":
					at.wire.set(cut)
				case "dropped":
					log.Drop()
				case "rolled back":
					at.wire.set(blind)
					log.Rollback(1 + r.IntN(10))
				}
				rights.users.Delete(user)
				insistDisconnect(t, by, user)
				switch r.IntN(12) {
				case 0:
					log.Renew()
				case 1:
					log.Purge()
				}
				for range 1 + r.IntN(5) {
					_, err := log.Append(t.Context(), eventlog.Entry{Topic: user, Data: []byte("secret"), MessageID: fmt.Sprint(r.Uint64())})
					require.NoError(t, err)
				}
				id, err := by.hub.Publish(t.Context(), "all", ssegin.Event{Data: "news"})
				if err == nil {
					ids = append(ids[max(0, len(ids)-50):], id)
				}
				time.Sleep(time.Duration(r.Int64N(int64(3 * time.Millisecond))))
				at.wire.set(inTouch)
				client.Wait() // nothing but the entry ends it
				secrets += got
			}
			t.Logf("history %d: %d tries, %v, %d looks at rights, %d events after Disconnect", history, tries/2, faults, rights.asked.Load(), secrets)
			assert.Zero(t, secrets)
		})
	}
}

// A process that begins may have nothing of the entry in memory: whoever was asked
// before it knew where the log ends is asked again.
func TestDisconnect_reachesARequestAtAProcessThatBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		var rights rights
		rights.users.Store("user:42", true)
		a := rights.join(t, log, 1000)
		synctest.Wait()
		log.Away(nil)
		b := rights.join(t, log, 3)
		status := make(chan int)
		go func() { status <- request(t, b.srv, "?user=user:42").Response().StatusCode }()
		time.Sleep(time.Second)
		require.EqualValues(t, 1, rights.asked.Load())
		log.Back()
		rights.users.Delete("user:42")
		b.wire.set(cut) // for so long
		insistDisconnect(t, a, "user:42")
		for range 10 {
			publish(t, a.hub, "user:42", "secret")
		}
		b.wire.set(inTouch)
		assert.Equal(t, http.StatusForbidden, await(t, status))
		assert.EqualValues(t, 2, rights.asked.Load())
	})
}

// A process that was out of touch may never see the entry. Its streams with topics are
// told of the gap, and end, and what they may follow is asked again.
func TestDisconnect_isNotKnownBeyondAGap(t *testing.T) {
	for name, gap := range map[string]func(*ssegintest.Log){
		"the entry has left":   func(log *ssegintest.Log) { log.Trim(1) },
		"all have left":        (*ssegintest.Log).Purge,
		"the log is made anew": (*ssegintest.Log).Renew,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := ssegintest.NewLog(ssegintest.WithMaxEntries(3))
				var rights rights
				rights.users.Store("user:42", true)
				rights.users.Store("user:43", true)
				a, b := rights.join(t, log, 1000), rights.join(t, log, 1000)
				synctest.Wait()
				lost, stays := connect(t, b.srv, "?user=user:42"), connect(t, b.srv, "?user=user:43")
				everybody := connect(t, start(t, b.wire).srv, "")
				publish(t, a.hub, "all", "1")
				require.Equal(t, "1", next(t, lost).Data)
				require.Equal(t, "1", next(t, stays).Data)
				b.wire.set(blind)
				rights.users.Delete("user:42")
				insistDisconnect(t, a, "user:42")
				for range 3 {
					publish(t, a.hub, "user:42", "secret")
				}
				synctest.Wait()
				gap(log)
				b.wire.set(inTouch)
				time.Sleep(10 * time.Second)
				for _, s := range []*ssegintest.Stream{lost, stays} {
					assert.Equal(t, "ssegin.reset", next(t, s).Type)
					requireEnd(t, s)
				}
				require.NoError(t, lost.Resume(t.Context()))
				assert.Equal(t, http.StatusForbidden, lost.Response().StatusCode)
				resume(t, stays)
				broadcast(t, a.hub, "2")
				assert.Equal(t, "2", next(t, stays).Data, "told once")
				assert.Equal(t, "ssegin.reset", next(t, everybody).Type)
				assert.Equal(t, "2", next(t, everybody).Data, "there is no right to it that could have ended")
			})
		})
	}
}

// The entry is no event: nobody is sent it, nobody has missed it, and it counts as none.
func TestDisconnect_isNoEventInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a, b := start(t, log), start(t, log)
		small := start(t, log, ssegin.WithHistory(1, 0, 0))
		first := a.fill(t, "x", 2)[0]
		end, err := a.hub.End(t.Context(), "job", ssegin.Event{Data: "done"})
		require.NoError(t, err)
		s := connect(t, b.srv, "?topic=x")
		synctest.Wait()
		before := b.hub.Stats()
		for range 3 {
			assert.Zero(t, disconnect(t, a.hub, "job"))
		}
		synctest.Wait()
		after := b.hub.Stats()
		assert.Equal(t, before.Published, after.Published)
		assert.Zero(t, after.Skipped)
		requireSilence(t, s, time.Second)
		assert.Zero(t, disconnect(t, a.hub, "x"), "those of this process")
		requireEnd(t, s)
		resume(t, s)
		nextBlock(t, s)
		publish(t, a.hub, "x", 3)
		requireNumbers(t, s, 3, 3)
		last := start(t, log)
		synctest.Wait() // or what comes while a client catches up may be too much for the smallest memory
		for _, n := range []*node{a, b, small, last} {
			requireNumbers(t, connect(t, n.srv, "?topic=x", withLastID(first)), 2, 3)
			done := request(t, n.srv, "?topic=job", withLastID(end))
			assert.Equal(t, http.StatusNoContent, done.Response().StatusCode, "the end is still the end")
		}
		assert.Zero(t, a.hub.Stats().Resets+b.hub.Stats().Resets+small.hub.Stats().Resets)
	})
}

func TestDisconnect_saysWhenItIsNotKnownWhetherOthersObey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &altered{Log: ssegintest.NewLog()}
		a := start(t, log, ssegin.WithPublishTimeout(time.Second))
		s := connect(t, a.srv, "?topic=x")
		log.Log.(*ssegintest.Log).Away(nil)
		n, err := a.hub.Disconnect(t.Context(), "x")
		assert.ErrorIs(t, err, ssegin.ErrUnavailable)
		assert.Equal(t, 1, n, "here it holds at once")
		requireEnd(t, s)
		log.Log.(*ssegintest.Log).Back()
		log.Log.(*ssegintest.Log).LoseAnswers(2)
		n, err = a.hub.Disconnect(t.Context(), "x")
		assert.NoError(t, err, "it is tried again")
		assert.Zero(t, n)
		appends := log.Log.(*ssegintest.Log).Requests().Appends
		log.append = func(context.Context, eventlog.Entry) (eventlog.Receipt, error) {
			return eventlog.Receipt{}, eventlog.ErrRefused
		}
		_, err = a.hub.Disconnect(t.Context(), "x")
		assert.ErrorIs(t, err, ssegin.ErrRefused)
		log.append = nil
		require.NoError(t, a.hub.Shutdown(t.Context()))
		_, err = a.hub.Disconnect(t.Context(), "x")
		assert.NoError(t, err, "other processes have not ended")
		assert.Equal(t, appends+1, log.Log.(*ssegintest.Log).Requests().Appends)
	})
}

// A process that does not know yet that the log was rolled back gives nothing of what is
// there now, for which it has not seen who was disconnected.
func TestDisconnect_isObeyedWhereThePastIsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		rights, w := newList(), newWire(log)
		a, b := start(t, log), start(t, w, ssegin.WithHistory(3, 0, 0))
		srv := serve(t, route(ssegin.Handler(b.hub, ssegin.WithTopics(rights.topics))))
		a.fill(t, "x", 20)
		time.Sleep(time.Second)
		w.set(blind)
		log.Rollback(15)
		time.Sleep(time.Second)
		id := publish(t, a.hub, "x", "new")
		got := make(chan *ssegintest.Stream)
		go func() { got <- request(t, srv, "", withLastID(id)) }()
		await(t, rights.read)
		rights.allowed.Store(false)
		disconnect(t, a.hub, "user:42")
		publish(t, a.hub, "user:42", "secret")
		close(rights.goOn)
		s := await(t, got)
		requireEnd(t, s)
		w.set(inTouch)
		time.Sleep(10 * time.Second)
		require.NoError(t, s.Resume(t.Context()))
		assert.Equal(t, http.StatusForbidden, s.Response().StatusCode)
	})
}
