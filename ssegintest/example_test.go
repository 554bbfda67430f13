package ssegintest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"

	"github.com/ssegin/ssegin/ssegintest"
)

func ExampleReader() {
	stream := "\ufeff: welcome\n\nid: 1\ndata: one\ndata: two\n\nevent: bye\ndata\n\n"
	r := ssegintest.NewReader(strings.NewReader(stream))
	for e, err := range r.Events() {
		if err != nil {
			fmt.Println(err)
		}
		fmt.Printf("%q\n", e)
	}
	fmt.Println("last ID", r.LastEventID(), "comments", r.Comments())
	// Output:
	// {"1" "message" "one\ntwo"}
	// {"1" "bye" ""}
	// last ID 1 comments 1
}

func ExampleReader_NextBlock() {
	r := ssegintest.NewReader(strings.NewReader(": heartbeat\nid: 7\n\ndata: x\n\n"))
	for {
		b, err := r.NextBlock()
		if errors.Is(err, io.EOF) {
			break
		}
		switch {
		case b.Event != nil:
			fmt.Println("event", b.Event.Data)
		case b.Comments != nil:
			fmt.Println("comment", b.Comments)
		default:
			fmt.Println("fields", b.Fields, "and the last ID is", b.LastEventID)
		}
	}
	// Output:
	// comment [ heartbeat]
	// fields [{id 7}] and the last ID is 7
	// event x
}

func ExampleCheckPlain() {
	fmt.Println(ssegintest.CheckPlain(strings.NewReader(":\nretry: 2000\ndata: {}\n\n:\n")))
	fmt.Println(ssegintest.CheckPlain(strings.NewReader("retry: 2000\n\ndata: {}\n\n")))
	// Output:
	// <nil>
	// ssegintest: block 1 has no data: fields [{"retry" "2000"}], comments []
}

// A blank line after a heartbeat and a lone retry are events for some clients.
func ExampleReader_Habit() {
	r := ssegintest.NewReader(strings.NewReader("retry: 2000\n\ndata: {}\n\n:\n\n"))
	r.Habit(ssegintest.Strict)
	for e, err := range r.Events() {
		fmt.Println(json.Valid([]byte(e.Data)), err)
	}
	// Output:
	// false <nil>
	// true <nil>
	// false <nil>
}

// A first block that is whole, and of a type that no page listens for, takes up
// what the last response has left unfinished.
func ExampleHabit_Events() {
	const cut = "data: tru"
	fmt.Printf("%q\n", ssegintest.WebKit.Events(cut, "retry: 300\n\nid: 1\ndata: true\n\n"))
	fmt.Printf("%q\n", ssegintest.WebKit.Events(cut, "retry: 300\nevent: ssegin.cursor\ndata: {}\nid: 0\n\nid: 1\ndata: true\n\n"))
	// Output:
	// [{"" "message" "truretry: 300"} {"1" "message" "true"}]
	// [{"1" "message" "true"}]
}

// numbers sends the numbers after the last event ID, and breaks off after each
// third.
func numbers(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	n, _ := strconv.Atoi(r.Header.Get("Last-Event-ID"))
	for range 3 {
		n++
		fmt.Fprintf(w, "id: %d\ndata: %d\n\n", n, n)
	}
}

func ExampleConnect() {
	srv := httptest.NewServer(http.HandlerFunc(numbers))
	defer srv.Close()

	ctx := context.Background()
	stream, err := ssegintest.Connect(ctx, srv.URL, ssegintest.WithLastEventID("41"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stream.Close()
	fmt.Println(stream.Response().Header.Get("Content-Type"))
	e, err := stream.Next(ctx)
	fmt.Println(e.Type, e.Data, err)
	// Output:
	// text/event-stream
	// message 42 <nil>
}

func ExampleStream_Resume() {
	srv := httptest.NewServer(http.HandlerFunc(numbers))
	defer srv.Close()

	ctx := context.Background()
	stream, err := ssegintest.Connect(ctx, srv.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stream.Close()
	for e, err := range stream.Events(ctx) {
		fmt.Println(e.Data, err)
		if e.Data == "2" {
			stream.Cut() // 3 may have arrived, but was not seen
		}
	}
	fmt.Println("resume after", stream.LastEventID(), stream.Resume(ctx))
	for e, err := range stream.Events(ctx) {
		fmt.Println(e.Data, err)
	}
	// Output:
	// 1 <nil>
	// 2 <nil>
	//  ssegintest: stream disconnected by its client
	// resume after 2 <nil>
	// 3 <nil>
	// 4 <nil>
	// 5 <nil>
}

func ExampleChecker() {
	check := ssegintest.NewChecker(1, func(e ssegintest.Event) (uint64, bool) {
		n, err := strconv.ParseUint(e.Data, 10, 64)
		return n, err == nil
	})
	for _, data := range []string{"1", "2", "4", "3", "3", "6"} {
		check.Check(ssegintest.Event{Data: data})
	}
	fmt.Println(check.Verdict(7))
	// Output:
	// lost 2, duplicated 1, reordered 1 over 6 reads
}
