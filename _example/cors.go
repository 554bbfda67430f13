package main

import (
	"crypto/rand"
	"net/http"
	"time"

	"github.com/gin-contrib/cors"
	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin"
)

// cors lets the pages of one other origin in, with credentials. ssegin itself
// sets no Access-Control header: this middleware is all there is to it. It
// belongs on the engine, because on a group preflights find no route.
func (a *app) cors() gin.HandlerFunc {
	return cors.New(cors.Config{
		AllowOrigins: []string{a.corsURL},
		// Behind a proxy that sets another Host, the example's own page looks
		// like one of another origin. The browser knows better, and no page can
		// set this header.
		AllowOriginWithContextFunc: func(c *gin.Context, _ string) bool {
			return c.GetHeader("Sec-Fetch-Site") == "same-origin"
		},
		AllowCredentials: true, // works with origins that are named, never with "*"
		AllowMethods:     []string{http.MethodGet, http.MethodPost},
		// An EventSource asks for nothing; clients made of fetch ask for these.
		AllowHeaders: []string{"Content-Type", "Authorization", "Last-Event-ID"},
		MaxAge:       time.Minute,
	})
}

// corsPage serves the page of another origin. It is allowed as
// http://localhost:port, and it is not as http://127.0.0.1:port: to a browser
// these are two origins.
func (a *app) corsPage() http.Handler {
	r := newRouter()
	serveFiles(r, "cors.js", "sse.js", "style.css")
	r.GET("/", func(c *gin.Context) {
		c.Header("Cache-Control", "no-cache")
		c.HTML(http.StatusOK, "cors.html", gin.H{"Target": a.url})
	})
	return r
}

// setVisitor gives each browser a cookie to be known by. A real application
// has its session here.
func setVisitor(c *gin.Context) {
	if _, err := c.Cookie("visitor"); err == nil {
		return
	}
	c.SetCookieData(&http.Cookie{
		Name:     "visitor",
		Value:    rand.Text()[:6],
		Path:     "/",
		HttpOnly: true,
		SameSite: http.SameSiteLaxMode,
	})
}

// greet sends three greetings and completes: an EventSource that comes back
// gets 204 and stops.
func greet(c *gin.Context) {
	stream := ssegin.From(c)
	visitor, err := c.Cookie("visitor")
	if err != nil {
		visitor = "" // the browser sent no cookie: a stranger
	}
	for range 3 {
		if stream.Send(ssegin.Event{Type: "greeting", Data: gin.H{"visitor": visitor}}) != nil {
			return
		}
		if !wait(stream.Context(), 100*time.Millisecond) {
			return
		}
	}
	_ = stream.End(ssegin.Event{})
}
