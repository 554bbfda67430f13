package main

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin"
)

//go:embed page
var page embed.FS

// An app is what the handlers share: one hub, and a few bounds.
type app struct {
	cfg     config
	url     string // of the example, from this machine
	corsURL string // of the page of another origin

	hub        *ssegin.Hub
	meter      meter
	rooms      map[string]*series
	bursts     series
	burstLimit sync.Mutex // held for a second by each burst
	jobs       jobs
	crowd      crowd
	client     *http.Client // of the crowd

	working context.Context // ends what goes on in the background
	work    sync.WaitGroup
}

func newApp(cfg config, url, corsURL string) *app {
	a := &app{
		cfg:     cfg,
		url:     url,
		corsURL: corsURL,
		rooms:   map[string]*series{"lobby": {}, "garden": {}, "library": {}},
		jobs:    jobs{running: make(chan struct{}, maxJobs), known: map[string]bool{}},
		client:  &http.Client{Transport: &http.Transport{}}, // without a proxy
	}
	a.hub = ssegin.NewHub(
		ssegin.WithHistory(4*burstSize, 0, 0), // so that a client can miss a few bursts and still resume
		ssegin.WithMaxStreams(1000),
		ssegin.WithDrain(cfg.drain),
		ssegin.WithObserver(ssegin.Observer{Delivered: a.meter.delivered}),
	)
	return a
}

// start begins what goes on in the background until ctx ends.
func (a *app) start(ctx context.Context) {
	a.working = ctx
	a.work.Go(func() { a.broadcastStats(ctx) })
}

func (a *app) routes() http.Handler {
	r := newRouter()
	r.Use(a.cors(), limitBody)
	r.GET("/", a.index)
	serveFiles(r, "app.js", "sse.js", "style.css")

	r.GET("/eventsource", ssegin.Middleware(ssegin.WithRetry(time.Second)), tick)

	r.GET("/events", a.events())
	r.GET("/rooms/:room", a.room())
	r.POST("/messages", a.say)

	r.POST("/ask", ssegin.Middleware(), ask)

	r.POST("/jobs", a.startJob)
	r.GET("/jobs/:id/events", a.followJob())

	r.POST("/cut", a.cut)
	r.POST("/burst", a.burst)
	r.POST("/crowd", a.openCrowd)
	r.DELETE("/crowd", a.closeCrowd)

	r.GET("/greetings", ssegin.Middleware(ssegin.WithRetry(200*time.Millisecond)), greet)
	return r
}

// newRouter returns an engine without a logger: it would print a stream only
// when that has ended, and with the query of its URL, where tokens may be.
func newRouter() *gin.Engine {
	r := gin.New()
	_ = r.SetTrustedProxies(nil) // nobody may say another client's address; nil cannot fail
	r.Use(gin.Recovery())
	r.SetHTMLTemplate(template.Must(template.ParseFS(page, "page/*.html")))
	return r
}

func (a *app) index(c *gin.Context) {
	setVisitor(c)
	c.Header("Cache-Control", "no-cache")
	c.HTML(http.StatusOK, "index.html", gin.H{"CorsURL": a.corsURL})
}

func serveFiles(r *gin.Engine, names ...string) {
	for _, name := range names {
		r.GET("/"+name, func(c *gin.Context) {
			c.Header("Cache-Control", "no-cache")
			c.FileFromFS("page/"+name, http.FS(page))
		})
	}
}

// limitBody bounds what a client can make the server read.
func limitBody(c *gin.Context) {
	c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, 16<<10)
}

// fail answers with an error that a person understands. Nothing has been sent
// yet, so this is an ordinary answer, even where a stream could have been.
func fail(c *gin.Context, status int, err error) {
	c.AbortWithStatusJSON(status, gin.H{"error": err.Error()})
}

// published answers a request to publish something.
func published(c *gin.Context, id string, err error) {
	switch {
	case errors.Is(err, ssegin.ErrClosed):
		fail(c, http.StatusServiceUnavailable, errors.New("the server is shutting down"))
	case errors.Is(err, ssegin.ErrInvalidEvent):
		fail(c, http.StatusBadRequest, err)
	case err != nil:
		fail(c, http.StatusInternalServerError, err)
	default:
		c.JSON(http.StatusCreated, gin.H{"id": id})
	}
}

// bind reads the JSON of a request, or answers what is wrong with it.
func bind(c *gin.Context, value any) (ok bool) {
	err := c.ShouldBindJSON(value)
	if err == nil {
		return true
	}
	status := http.StatusBadRequest
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		status = http.StatusRequestEntityTooLarge
		err = fmt.Errorf("the request is larger than %d bytes", tooLarge.Limit)
	}
	fail(c, status, err)
	return false
}

// checkLength refuses text that is missing or too long, in characters.
func checkLength(name, text string, limit int) error {
	if text == "" {
		return fmt.Errorf("%s is missing", name)
	}
	if n := utf8.RuneCountInString(text); n > limit {
		return fmt.Errorf("%s has %d characters, the limit is %d", name, n, limit)
	}
	return nil
}

// A series numbers events, so that the page can count what is missing and what
// came twice. It is there for show: the hub's own IDs do the work.
type series struct {
	mu sync.Mutex
	n  int
}

// next publishes the next one. It holds the lock meanwhile, so that the numbers
// are in the order of the hub; that is short, because a publisher never waits.
func (s *series) next(publish func(n int) (id string, err error)) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, err := publish(s.n + 1)
	if err == nil {
		s.n++
	}
	return id, err
}
