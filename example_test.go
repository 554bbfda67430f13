package ssegin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin"
)

// show serves one request without a network and prints the events of the
// response: epochs are random, so IDs show as their position.
func show(router http.Handler, request *http.Request) {
	recorder := httptest.NewRecorder()
	router.ServeHTTP(recorder, request)
	fmt.Println(recorder.Code)
	for line := range strings.SplitSeq(recorder.Body.String(), "\n") {
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			line = "id: #" + id[strings.LastIndexByte(id, '-')+1:]
		}
		if line != "" {
			fmt.Println(line)
		}
	}
}

func newGet(path string) *http.Request { return httptest.NewRequest(http.MethodGet, path, nil) }

// The last ID of a client is a place in the hub's log: it gets what it missed.
func Example() {
	hub := ssegin.NewHub()
	router := gin.New()
	router.GET("/events", ssegin.Handler(hub, ssegin.WithMaxAge(500*time.Millisecond), ssegin.WithRetry(2*time.Second)))

	last, _ := hub.Broadcast(context.Background(), ssegin.Event{Data: "one"})
	hub.Broadcast(context.Background(), ssegin.Event{Data: "two"})
	hub.Broadcast(context.Background(), ssegin.Event{Type: "chat", Data: gin.H{"text": "three"}})

	request := newGet("/events")
	request.Header.Set("Last-Event-ID", last)
	response := httptest.NewRecorder()
	router.ServeHTTP(response, request)
	for block := range strings.SplitSeq(response.Body.String(), "\n\n") {
		if strings.Contains(block, "data: ") && !strings.Contains(block, "event: ssegin.") {
			fmt.Println(block[:strings.Index(block, "\nid:")])
		}
	}
	// Output:
	// data: two
	// event: chat
	// data: {"text":"three"}
}

func ExampleHandler() {
	hub := ssegin.NewHub(ssegin.WithHistory(10_000, 32<<20, time.Hour))
	router := gin.New()
	router.GET("/events", ssegin.Handler(hub)) // broadcasts
	router.GET("/rooms/:room", ssegin.Handler(hub, ssegin.WithTopics(func(c *gin.Context) ([]string, error) {
		return []string{"room:" + c.Param("room"), "user:" + c.GetString("uid")}, nil
	})))
	router.POST("/rooms/:room", func(c *gin.Context) {
		id, err := hub.Publish(c, "room:"+c.Param("room"), ssegin.Event{Type: "message", Data: c.PostForm("text")})
		if errors.Is(err, ssegin.ErrInvalidEvent) {
			c.JSON(http.StatusBadRequest, gin.H{"error": err.Error()})
			return
		}
		c.JSON(http.StatusAccepted, gin.H{"id": id})
	})
}

func ExampleMiddleware() {
	router := gin.New()
	router.GET("/count", ssegin.Middleware(), func(c *gin.Context) {
		n := 0
		c.Stream(func(io.Writer) bool {
			n++
			c.SSEvent("count", n)
			return n < 3
		})
	})
	show(router, newGet("/count"))
	// Output:
	// 200
	// event:count
	// data:1
	// event:count
	// data:2
	// event:count
	// data:3
}

func ExampleFrom() {
	router := gin.New()
	router.POST("/ask", ssegin.Middleware(), func(c *gin.Context) {
		question := c.PostForm("question")
		if question == "" {
			c.JSON(http.StatusBadRequest, gin.H{"error": "no question"}) // still an ordinary answer
			return
		}
		stream := ssegin.From(c)
		for token := range strings.FieldsSeq("the answer is 42") {
			if stream.Send(ssegin.Event{Type: "token", Data: token}) != nil {
				return // the client is gone
			}
		}
		stream.End(ssegin.Event{})
	})
	show(router, httptest.NewRequest(http.MethodPost, "/ask", nil))
	// Output:
	// 400
	// {"error":"no question"}
}

func ExampleStream_Send() {
	router := gin.New()
	router.GET("/greet", ssegin.Middleware(), func(c *gin.Context) {
		ssegin.From(c).Send(ssegin.Event{ID: "7", Type: "greeting", Data: "hello\nworld"})
		err := ssegin.From(c).Send(ssegin.Event{Type: "two\nlines", Data: "!"})
		fmt.Println(err)
	})
	show(router, newGet("/greet"))
	// Output:
	// ssegin: invalid event: Type "two\nlines" contains LF
	// 200
	// event: greeting
	// data: hello
	// data: world
	// id: #7
}

func ExampleStream_Comment() {
	router := gin.New()
	router.GET("/slow", ssegin.Middleware(), func(c *gin.Context) {
		ssegin.From(c).Comment("working on it") // the client has its headers now
	})
	show(router, newGet("/slow"))
	// Output:
	// 200
	// : working on it
}

// A stream that counts, and goes on where the client was cut.
func ExampleStream_LastEventID() {
	router := gin.New()
	router.GET("/ticks", ssegin.Middleware(), func(c *gin.Context) {
		stream := ssegin.From(c)
		var n int
		fmt.Sscan(stream.LastEventID(), &n) // anything may have been sent: then it is 0
		for range 2 {
			n++
			stream.Send(ssegin.Event{ID: fmt.Sprint(n), Data: "tick"})
		}
	})
	request := newGet("/ticks")
	request.Header.Set("Last-Event-ID", "41")
	show(router, request)
	// Output:
	// 200
	// :
	// event: ssegin.cursor
	// data: {}
	// id: #41
	// data: tick
	// id: #42
	// data: tick
	// id: #43
}

func ExampleStream_Context() {
	router := gin.New()
	router.GET("/ticks", ssegin.Middleware(ssegin.WithMaxAge(time.Millisecond)), func(c *gin.Context) {
		stream := ssegin.From(c)
		<-stream.Context().Done()
		fmt.Println(context.Cause(stream.Context()))
	})
	show(router, newGet("/ticks"))
	// Output:
	// ssegin: stream reached its maximum age
	// 200
}

// The client that comes back after the end is told to stop.
func ExampleStream_End() {
	router := gin.New()
	router.GET("/once", ssegin.Middleware(), func(c *gin.Context) {
		ssegin.From(c).Send(ssegin.Event{Data: "all there is"})
		ssegin.From(c).End(ssegin.Event{})
	})
	show(router, newGet("/once"))
	again := newGet("/once")
	again.Header.Set("Last-Event-ID", "ssegin.end")
	show(router, again)
	// Output:
	// 200
	// data: all there is
	// event: ssegin.end
	// data: {}
	// id: #ssegin.end
	// 204
}

func ExampleNewHub() {
	hub := ssegin.NewHub(
		ssegin.WithHistory(50_000, 64<<20, time.Hour), // what clients may miss and still be given
		ssegin.WithMaxStreams(10_000),
		ssegin.WithDrain(20*time.Second),
	)
	fmt.Println(hub.Stats().Streams)
	// Output: 0
}

func ExampleHub_Broadcast() {
	hub := ssegin.NewHub()
	_, err := hub.Broadcast(context.Background(), ssegin.Event{Type: "news", Data: []string{"a", "b"}})
	fmt.Println(err)
	_, err = hub.Broadcast(context.Background(), ssegin.Event{Data: "an event", Retry: -time.Second})
	fmt.Println(err)
	// Output:
	// <nil>
	// ssegin: invalid event: Retry -1s is negative
}

// A user is a topic, with as many streams as tabs.
func ExampleHub_Publish() {
	hub := ssegin.NewHub()
	hub.Publish(context.Background(), "user:42", ssegin.Event{Type: "mail", Data: gin.H{"unread": 3}})
	fmt.Println(hub.Stats().Published)
	// Output: 1
}

// A job reports its progress, and its end closes the streams of its topic.
func ExampleHub_End() {
	hub := ssegin.NewHub()
	router := gin.New()
	router.GET("/jobs/:id", ssegin.Handler(hub, ssegin.WithTopics(func(c *gin.Context) ([]string, error) {
		return []string{"job:" + c.Param("id")}, nil
	})))
	last, _ := hub.End(context.Background(), "job:1", ssegin.Event{Type: "done", Data: "100 %"})

	show(router, newGet("/jobs/1")) // a late client sees the end
	again := newGet("/jobs/1")
	again.Header.Set("Last-Event-ID", last)
	show(router, again) // and stops
	// Output:
	// 200
	// retry: 2000
	// event: ssegin.cursor
	// data: {}
	// id:
	// event: done
	// data: 100 %
	// id: #1
	// 204
}

// A user logs out: its streams end, and WithTopics refuses the reconnections.
func ExampleHub_Disconnect() {
	hub := ssegin.NewHub()
	// First the rights, so that WithTopics refuses those who come back; then:
	n, err := hub.Disconnect(context.Background(), "user:42")
	fmt.Println(n, "streams ended,", err)
	// Output: 0 streams ended, <nil>
}

func ExampleHub_Shutdown() {
	hub := ssegin.NewHub(ssegin.WithDrain(20 * time.Second))
	server := &http.Server{Handler: gin.New(), ReadHeaderTimeout: 5 * time.Second}

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	server.SetKeepAlivesEnabled(false) // or clients come back to this process over the connections that they have
	err := errors.Join(hub.Shutdown(ctx), server.Shutdown(ctx))
	fmt.Println(err)
	_, err = hub.Broadcast(ctx, ssegin.Event{Data: "too late"})
	fmt.Println(err)
	// Output:
	// <nil>
	// ssegin: closed
}

func ExampleHub_Stats() {
	hub := ssegin.NewHub()
	hub.Broadcast(context.Background(), ssegin.Event{Data: "hello"})
	stats := hub.Stats()
	fmt.Println(stats.Published, stats.HistoryEvents, stats.Streams, stats.Lag)
	// Output: 1 1 0 0s
}

// A chat shows the last messages to whoever opens or reloads the page.
func ExampleWithReplay() {
	hub := ssegin.NewHub()
	router := gin.New()
	room := ssegin.WithTopics(func(*gin.Context) ([]string, error) { return []string{"room:7"}, nil })
	router.GET("/events", ssegin.Handler(hub, room, ssegin.WithReplay(ssegin.ReplayLast(2))))
	for _, text := range []string{"hello", "anybody here?"} {
		hub.Publish(context.Background(), "room:7", ssegin.Event{Data: text})
	}
	hub.End(context.Background(), "room:7", ssegin.Event{Data: "closed"}) // so that this example ends, too
	show(router, newGet("/events"))
	// Output:
	// 200
	// retry: 2000
	// event: ssegin.cursor
	// data: {}
	// id:
	// data: anybody here?
	// id: #2
	// data: closed
	// id: #3
}

// A page is rendered from data, and its stream goes on from exactly there.
func ExampleHub_LastID() {
	hub := ssegin.NewHub()
	router := gin.New()
	router.GET("/events", ssegin.Handler(hub))
	router.GET("/", func(c *gin.Context) {
		id := hub.LastID() // before the data, or what happens in between would be missing
		orders := "no orders yet"
		c.String(http.StatusOK, "%s; then new EventSource(\"/events?lastEventId=%s\")", orders, id[strings.IndexByte(id, '-'):])
	})
	show(router, newGet("/"))
	// Output:
	// 200
	// no orders yet; then new EventSource("/events?lastEventId=-0")
}

// Whoever follows the room and its owner gets the event once.
func ExampleHub_PublishTo() {
	hub := ssegin.NewHub()
	topics := []string{"room:7", "user:42"}
	_, err := hub.PublishTo(context.Background(), topics, ssegin.Event{Type: "closed", Data: "room 7"})
	fmt.Println(hub.Stats().Published, err)
	// Output: 1 <nil>
}

func ExampleHub_Retained() {
	hub := ssegin.NewHub()
	hub.Publish(context.Background(), "room:7", ssegin.Event{Data: "hello"})
	hub.Publish(context.Background(), "room:7", ssegin.Event{Type: "joined", Data: gin.H{"user": 42}})
	for _, e := range hub.Retained("room:7") {
		fmt.Println(e.Type, e.Data)
	}
	// Output:
	//  hello
	// joined {"user":42}
}

func ExampleHub_Erase() {
	hub := ssegin.NewHub()
	hub.Publish(context.Background(), "user:42", ssegin.Event{Data: "private"})
	n, err := hub.Erase("user:42")
	fmt.Println(n, err, len(hub.Retained("user:42")))
	// Output: 1 <nil> 0
}

// Prices are fetched only while somebody looks at them.
func ExampleWithLocalAudience() {
	var feeds sync.Map // of prices, by topic
	hub := ssegin.NewHub(ssegin.WithLocalAudience(
		func(topic string) { feeds.Store(topic, time.NewTicker(time.Second)) },
		func(topic string) { feeds.Delete(topic) },
	))
	fmt.Println(hub.LocalStreams("price:XAU"))
	// Output: 0
}

// A board of prices needs the newest of each; a room keeps its last words, whatever
// happens elsewhere.
func ExampleWithTopicFloor() {
	prices := ssegin.NewHub(ssegin.WithTopicCeiling(1, 0, 0))
	rooms := ssegin.NewHub(ssegin.WithHistory(0, 64<<20, time.Hour), ssegin.WithTopicFloor(50, 0, 0))
	for i := range 3 {
		prices.Publish(context.Background(), "price:XAU", ssegin.Event{Data: i})
		rooms.Publish(context.Background(), "room:7", ssegin.Event{Data: i})
	}
	fmt.Println(len(prices.Retained("price:XAU")), len(rooms.Retained("room:7")))
	// Output: 1 3
}

// A page that opens gets the present state first, and then every change.
func ExampleOnConnect() {
	hub := ssegin.NewHub()
	state := func() ssegin.Event { return ssegin.Event{Type: "state", Data: gin.H{"open": 3}} }
	router := gin.New()
	router.GET("/events", ssegin.Handler(hub,
		ssegin.OnConnect(func(_ *gin.Context, s *ssegin.Stream) error {
			if s.LastEventID() != "" {
				return nil // it goes on where it was
			}
			return s.Send(state())
		}),
		ssegin.OnReset(func(s *ssegin.Stream, _ ssegin.Reset) { s.Send(state()) }),
		ssegin.WithMaxAge(500*time.Millisecond),
	))
	recorder := httptest.NewRecorder()
	router.ServeHTTP(recorder, newGet("/events"))
	fmt.Println(strings.Contains(recorder.Body.String(), "event: state\ndata: {\"open\":3}\n\n"))
	// Output: true
}

func ExampleConnContext() {
	lc := net.ListenConfig{}
	lc.SetMultipathTCP(false) // MPTCP sockets refuse the option that ConnContext sets
	ln, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &http.Server{Handler: gin.New(), ReadHeaderTimeout: 5 * time.Second, ConnContext: ssegin.ConnContext}
	go server.Serve(ln)
	fmt.Println(server.Close())
	// Output: <nil>
}
