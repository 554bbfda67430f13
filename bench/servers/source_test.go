package servers

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ssegin/ssegin/bench/payload"
)

func TestSource_keepsThePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(Plan{Rate: 10, Time: time.Second, Size: 40}, 2, newWindow())
		start := time.Now()
		for i := range 10 {
			topic, event := s.next()
			seq, _, ok := payload.Parse(event)
			if !ok || topic != i%2 || seq != uint64(i/2+1) {
				t.Fatalf("event %d: topic %d, number %d", i, topic, seq)
			}
			if at := time.Since(start); at != time.Duration(i)*time.Second/10 {
				t.Errorf("event %d came after %v", i, at)
			}
		}
		if _, event := s.next(); event != nil {
			t.Error("an event after the end")
		}
		<-s.ended
		if p := s.published(); p.Events != 10 || p.Due != 10 {
			t.Errorf("published %+v", p)
		}
	})
}

func TestSource_countsDelayFromWhenTheEventWasDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSource(Plan{Rate: 10, Time: time.Second, Size: 40}, 1, newWindow())
		_, first := s.next()
		time.Sleep(time.Second / 2) // the server blocks
		_, second := s.next()
		_, sent1, _ := payload.Parse(first)
		_, sent2, _ := payload.Parse(second)
		if d := time.Duration(sent2 - sent1); d != time.Second/10 {
			t.Errorf("the second event counts as sent %v after the first", d)
		}
	})
}

func TestSource_stopsAtTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow()
		ack, end := w.join()
		defer end()
		s := newSource(Plan{Time: time.Minute, Window: 4, Ackers: 1}, 1, w)
		for range 4 {
			s.next()
		}
		fifth := make(chan []byte)
		go func() {
			_, event := s.next()
			fifth <- event
		}()
		synctest.Wait()
		select {
		case <-fifth:
			t.Fatal("an event beyond the window")
		default:
		}
		ack(1)
		if <-fifth == nil {
			t.Fatal("no event within the window")
		}
		if _, event := s.next(); event != nil { // nobody acknowledges: the minute passes
			t.Error("another event beyond the window")
		}
	})
}
