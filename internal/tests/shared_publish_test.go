package tests

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ssegin/ssegin"
	"github.com/ssegin/ssegin/eventlog"
	"github.com/ssegin/ssegin/ssegintest"
)

func TestWithLog_anAnswerThatIsLostMakesNoEventTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		s := connect(t, a.srv, "?topic=x")
		log.LoseAnswers(3)
		id := publish(t, a.hub, "x", 1)
		again, err := a.hub.Publish(t.Context(), "x", ssegin.Event{Data: 2, MessageID: "m"})
		require.NoError(t, err)
		twice, err := a.hub.Publish(t.Context(), "x", ssegin.Event{Data: 2, MessageID: "m"})
		require.NoError(t, err)
		assert.Equal(t, again, twice)
		publish(t, a.hub, "x", 3)
		assert.Equal(t, ssegintest.Event{ID: id, Type: "message", Data: "1"}, next(t, s))
		assert.Equal(t, ssegintest.Event{ID: again, Type: "message", Data: "2"}, next(t, s))
		requireNumbers(t, s, 3, 3)
	})
}

func TestWithLog_nothingIsPublishedAfterShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a, b := start(t, log), start(t, log)
		s := connect(t, a.srv, "?topic=x")
		a.fill(t, "x", 3)
		log.Hang()
		hanging := make(chan error)
		go func() {
			_, err := a.hub.Publish(t.Context(), "x", ssegin.Event{Data: "?"})
			hanging <- err
		}()
		synctest.Wait()
		require.NoError(t, a.hub.Shutdown(t.Context()))
		assert.ErrorIs(t, <-hanging, ssegin.ErrClosed)
		_, err := a.hub.Publish(t.Context(), "x", ssegin.Event{Data: "?"})
		assert.ErrorIs(t, err, ssegin.ErrClosed)
		requireNumbers(t, s, 1, 3)
		requireEnd(t, s)
		log.Back()
		b.fill(t, "x", 1)
		connect(t, b.srv, "?topic=x", withLastID(s.LastEventID()))
	})
}

func TestWithLog_whatIsPublishedArrivesAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := start(t, ssegintest.NewLog())
		s := connect(t, a.srv, "?topic=x")
		for _, tc := range []struct {
			event ssegin.Event
			want  []ssegintest.Field
		}{
			{ssegin.Event{Retry: 1500 * time.Millisecond}, []ssegintest.Field{{Name: "event", Value: "ssegin.cursor"}, {Name: "retry", Value: "1500"}, {Name: "data", Value: "{}"}}},
			{ssegin.Event{Data: ""}, []ssegintest.Field{{Name: "data", Value: ""}}},
			{ssegin.Event{Data: []byte{}}, []ssegintest.Field{{Name: "data", Value: ""}}},
			{ssegin.Event{Type: "y", Data: map[string]int{"n": 1}}, []ssegintest.Field{{Name: "event", Value: "y"}, {Name: "data", Value: `{"n":1}`}}},
		} {
			id, err := a.hub.Publish(t.Context(), "x", tc.event)
			require.NoError(t, err)
			assert.Equal(t, append(tc.want, ssegintest.Field{Name: "id", Value: id}), nextBlock(t, s).Fields)
		}
	})
}

func TestWithLog_anEndNeedsNoDataThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		s := connect(t, a.srv, "?topic=x")
		_, err := log.Append(t.Context(), eventlog.Entry{Topic: "x", Type: "ssegin.end"}) // it is none
		require.NoError(t, err)
		id, err := a.hub.End(t.Context(), "x", ssegin.Event{})
		require.NoError(t, err)
		assert.Equal(t, []ssegintest.Field{{Name: "event", Value: "ssegin.end"}, {Name: "data", Value: "{}"}, {Name: "id", Value: id}}, nextBlock(t, s).Fields)
		requireEnd(t, s)
		assert.EqualValues(t, 1, a.hub.Stats().Skipped)
		assert.EqualValues(t, 2, a.hub.Stats().Published)
	})
}

func TestWithLog_anEntryThatTheLogRefusesIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		var published []string
		log := &altered{Log: ssegintest.NewLog()}
		a := start(t, log, ssegin.WithObserver(ssegin.Observer{Published: func(topic string, n int) { published = append(published, fmt.Sprint(topic, n)) }}))
		publish(t, a.hub, "x", "12345")
		assert.Equal(t, []string{"x" + strconv.Itoa(len("data: 12345\n"))}, published)
		log.append = func(context.Context, eventlog.Entry) (eventlog.Receipt, error) {
			tries++
			return eventlog.Receipt{}, fmt.Errorf("too large: %w", eventlog.ErrRefused)
		}
		begin := time.Now()
		_, err := a.hub.Publish(t.Context(), "x", ssegin.Event{Data: "?"})
		assert.ErrorIs(t, err, ssegin.ErrRefused)
		assert.NotErrorIs(t, err, ssegin.ErrUnavailable)
		assert.ErrorContains(t, err, "too large")
		assert.Zero(t, time.Since(begin))
		assert.Equal(t, 1, tries)
		assert.Len(t, published, 1)
	})
}

// A request whose answer never comes is given up, and made again.
func TestWithLog_aRequestThatIsLostIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &altered{Log: ssegintest.NewLog()}
		lost := func(ctx context.Context) error {
			log.append, log.bounds = nil, nil // the next one is not
			<-ctx.Done()
			return context.Cause(ctx)
		}
		log.bounds = func(ctx context.Context) (eventlog.Bounds, error) { return eventlog.Bounds{}, lost(ctx) }
		begin := time.Now()
		a := start(t, log)
		publish(t, a.hub, "x", 1)
		assert.Less(t, time.Since(begin), 4*time.Second)
		log.append = func(ctx context.Context, _ eventlog.Entry) (eventlog.Receipt, error) {
			return eventlog.Receipt{}, lost(ctx)
		}
		begin = time.Now()
		publish(t, a.hub, "x", 2)
		assert.Less(t, time.Since(begin), 4*time.Second)
	})
}

func TestWithLog_whoPublishesIsToldWhyItEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		a := start(t, log)
		publish(t, a.hub, "x", 1)
		log.Hang()
		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(enough) })
		_, err := a.hub.Publish(ctx, "x", ssegin.Event{Data: "?", MessageID: "mine"})
		assert.ErrorIs(t, err, ssegin.ErrUnavailable)
		assert.ErrorIs(t, err, enough)
		assert.ErrorContains(t, err, `"mine"`)

		begin := time.Now()
		time.AfterFunc(time.Second, func() { assert.NoError(t, a.hub.Shutdown(context.Background())) })
		_, err = a.hub.Publish(t.Context(), "x", ssegin.Event{Data: "?"})
		assert.ErrorIs(t, err, ssegin.ErrClosed)
		assert.Equal(t, time.Second, time.Since(begin), "the hub's end does not wait for the engine")
	})
}

// Before the hub knows the log's epoch it could give no ID.
func TestWithLog_publishingWaitsUntilTheLogIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := ssegintest.NewLog()
		gate := &gated{Log: log}
		gate.close()
		a, b := start(t, gate), start(t, log)
		s := connect(t, b.srv, "?topic=x")
		time.AfterFunc(time.Second, gate.open)
		id := publish(t, a.hub, "x", 1)
		assert.Equal(t, ssegintest.Event{ID: id, Type: "message", Data: "1"}, next(t, s))
	})
}

// Whoever publishes gets what is needed to try again, whatever the reason.
func TestPublish_anUnknownOutcomeCarriesTheMessageID(t *testing.T) {
	for name, test := range map[string]struct {
		given string
		ended bool // the hub ends while it waits
		is    error
	}{
		"given by the application": {given: "order 7", is: ssegin.ErrUnavailable},
		"given by the hub":         {is: ssegin.ErrUnavailable},
		"the hub has ended":        {ended: true, is: ssegin.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := ssegintest.NewLog()
				a := start(t, log, ssegin.WithPublishTimeout(2*time.Second))
				s := connect(t, a.srv, "?topic=x")
				a.fill(t, "x", 1)
				log.LoseAnswers(1)
				log.Hang()
				if test.ended {
					time.AfterFunc(time.Second, func() { _ = a.hub.Shutdown(t.Context()) })
				}
				_, err := a.hub.Publish(t.Context(), "x", ssegin.Event{Data: 2, MessageID: test.given})
				unknown, ok := errors.AsType[*ssegin.UnknownOutcomeError](err)
				require.True(t, ok, "%v", err)
				assert.ErrorIs(t, err, test.is)
				assert.ErrorContains(t, err, unknown.MessageID)
				assert.NotEmpty(t, unknown.MessageID)
				if test.given != "" {
					assert.Equal(t, test.given, unknown.MessageID)
				}
				if log.Back(); test.ended {
					return
				}
				time.Sleep(10 * time.Second)
				publish := func() string {
					id, err := a.hub.Publish(t.Context(), "x", ssegin.Event{Data: 2, MessageID: unknown.MessageID})
					require.NoError(t, err)
					return id
				}
				first := publish()
				require.Equal(t, first, publish(), "it is there once")
				requireNumbers(t, s, 1, 2)
				requireSilence(t, s, time.Second)
			})
		})
	}
}

func TestHub_aMessageIDIsForgottenWithTheAgeOfItsEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := ssegin.NewHub(ssegin.WithHistory(0, 0, time.Minute))
		srv := serve(t, route(ssegin.Handler(hub, withTopics())))
		first, err := hub.Publish(t.Context(), "x", ssegin.Event{Data: "1", MessageID: "m"})
		require.NoError(t, err)
		time.Sleep(time.Hour)
		_ = srv
		second, err := hub.Publish(t.Context(), "x", ssegin.Event{Data: "1", MessageID: "m"})
		require.NoError(t, err)
		assert.NotEqual(t, first, second)
	})
}

// The log is made anew while a hub publishes, which learns of it later: the IDs
// that it returns are those that the events have on the wire.
func TestWithLog_theIDIsTheOneOnTheWireWhenTheLogIsMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &altered{Log: ssegintest.NewLog()}
		a := start(t, log)
		s := connect(t, a.srv, "?topic=x")
		first := publish(t, a.hub, "x", 1)
		assert.Equal(t, first, next(t, s).ID)
		log.append = func(ctx context.Context, e eventlog.Entry) (eventlog.Receipt, error) {
			log.append = nil
			log.Log.(*ssegintest.Log).Renew()
			return log.Log.Append(ctx, e)
		}
		second := publish(t, a.hub, "x", 2)
		synctest.Wait()
		assert.NotEqual(t, first[:10], second[:10], "it is of another life")
		time.Sleep(5 * time.Second)
		b := connect(t, start(t, log.Log).srv, "?topic=x", withLastID(second))
		third := publish(t, a.hub, "x", 3)
		assert.Equal(t, third, next(t, b).ID, "no reset, and nothing twice")
	})
}
