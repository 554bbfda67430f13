package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/ssegin/ssegin"
)

const (
	maxName = 24
	maxText = 500
)

// events is the page's one stream. A topic is cheap, a connection is not:
// browsers open six to a host over HTTP/1.1, over all tabs. Who opens or reloads the
// page sees what was said last, and the last seconds of the chart.
func (a *app) events() gin.HandlerFunc {
	return ssegin.Handler(a.hub,
		ssegin.WithTopics(a.topics),
		ssegin.WithReplay(ssegin.ReplayEach(20)),
		ssegin.WithRetry(time.Second),
		ssegin.WithHeartbeat(a.cfg.heartbeat))
}

// topics says what a page may follow. It is asked on every connect, so what it
// decides is always up to date. Here the page says who its user is; a real
// application takes that from its session, never from the query.
func (a *app) topics(c *gin.Context) ([]string, error) {
	tab, user, room := c.Query("tab"), c.Query("user"), c.Query("room")
	err := errors.Join(checkLength("tab", tab, 32), checkLength("user", user, maxName), a.checkRoom(room))
	if err != nil {
		fail(c, http.StatusBadRequest, err)
		return nil, err
	}
	return []string{
		topicStats,
		"room:" + room,
		"user:" + user, // a user has as many streams as tabs
		"tab:" + tab,   // this one alone
	}, nil
}

// room is a stream of one room, for a terminal:
//
//	curl -N localhost:8080/rooms/lobby
func (a *app) room() gin.HandlerFunc {
	return ssegin.Handler(a.hub,
		ssegin.WithHeartbeat(a.cfg.heartbeat),
		ssegin.WithTopics(func(c *gin.Context) ([]string, error) {
			if err := a.checkRoom(c.Param("room")); err != nil {
				fail(c, http.StatusNotFound, err)
				return nil, err
			}
			return []string{"room:" + c.Param("room")}, nil
		}))
}

// A message is for a room, or for one user.
type message struct {
	N    int       `json:"n,omitempty"` // in its room
	From string    `json:"from"`
	To   string    `json:"to,omitempty"` // a user; empty: everybody in the room
	Room string    `json:"room,omitempty"`
	Text string    `json:"text"`
	At   time.Time `json:"at"`
}

// say publishes a message. It is done when the hub has it, and never waits for
// those who get it.
func (a *app) say(c *gin.Context) {
	var m message
	if !bind(c, &m) {
		return
	}
	m.From, m.To, m.Text, m.At = strings.TrimSpace(m.From), strings.TrimSpace(m.To), strings.TrimSpace(m.Text), time.Now()
	if err := a.checkMessage(m); err != nil {
		fail(c, http.StatusBadRequest, err)
		return
	}
	id, err := a.publish(c, m)
	published(c, id, err)
}

func (a *app) publish(c *gin.Context, m message) (id string, err error) {
	if m.To == "" {
		return a.rooms[m.Room].next(func(n int) (string, error) {
			m.N = n
			return a.hub.Publish(c, "room:"+m.Room, ssegin.Event{Type: "chat", Data: m})
		})
	}
	// To every tab of the one, and to every tab of the other; once, if they are the same.
	m.N, m.Room = 0, ""
	return a.hub.PublishTo(c, []string{"user:" + m.To, "user:" + m.From}, ssegin.Event{Type: "private", Data: m})
}

func (a *app) checkMessage(m message) error {
	err := errors.Join(checkLength("from", m.From, maxName), checkLength("text", m.Text, maxText))
	if m.To != "" {
		return errors.Join(err, checkLength("to", m.To, maxName))
	}
	return errors.Join(err, a.checkRoom(m.Room))
}

func (a *app) checkRoom(room string) error {
	if a.rooms[room] == nil {
		return fmt.Errorf("there is no room %.24q: there are lobby, garden and library", room)
	}
	return nil
}
