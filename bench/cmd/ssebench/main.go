// Ssebench measures event-stream servers side by side. The README of the bench
// folder says how.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/ssegin/ssegin/bench/run"
	"github.com/ssegin/ssegin/bench/servers"
)

func main() {
	ran, err := run.Child(os.Args[1:])
	if !ran {
		err = measure(os.Args[1:])
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "ssebench:", err)
		os.Exit(1)
	}
}

func measure(args []string) error {
	var o options
	if err := o.parse(args); err != nil {
		return err
	}
	config, err := o.config()
	if err != nil {
		return err
	}
	if o.list {
		list(config)
		return nil
	}
	for _, left := range config.LeftOut {
		fmt.Fprintln(os.Stderr, "left out:", left)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	results, err := run.Run(ctx, config)
	if err != nil {
		return err
	}
	if o.out != "" {
		if err := results.Save(o.out); err != nil {
			return err
		}
	}
	return results.WriteTables(os.Stdout)
}

type options struct {
	quick, list        bool
	servers, workloads string
	rounds             int
	time               time.Duration
	out                string
}

func (o *options) parse(args []string) error {
	flags := flag.NewFlagSet("ssebench", flag.ContinueOnError)
	flags.BoolVar(&o.quick, "quick", false, "the short form: few servers and workloads, one round, a minute")
	flags.BoolVar(&o.list, "list", false, "say what would be measured, and stop")
	flags.StringVar(&o.servers, "servers", "", "only servers whose names match this `regexp`")
	flags.StringVar(&o.workloads, "workloads", "", "only workloads whose names match this `regexp`")
	flags.IntVar(&o.rounds, "rounds", 0, "how often each server is measured (default 3, quick 1)")
	flags.DurationVar(&o.time, "time", 0, "how long each run publishes (default 2s, quick 1s)")
	flags.StringVar(&o.out, "out", "", "also write the tables and a picture into this `folder`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return nil
}

// config chooses what to measure. What is named explicitly is left out only if
// its programs are not installed.
func (o *options) config() (run.Config, error) {
	c := run.Config{Rounds: 3, Time: 2 * time.Second, Progress: os.Stderr}
	if o.quick {
		c.Rounds, c.Time = 1, time.Second
	}
	if o.rounds > 0 {
		c.Rounds = o.rounds
	}
	if o.time > 0 {
		c.Time = o.time
	}
	server, err := regexp.Compile(o.servers)
	if err != nil {
		return c, fmt.Errorf("-servers: %w", err)
	}
	workload, err := regexp.Compile(o.workloads)
	if err != nil {
		return c, fmt.Errorf("-workloads: %w", err)
	}
	for _, e := range servers.All {
		if !server.MatchString(e.Name) || o.quick && !e.Quick && o.servers == "" {
			continue
		}
		if lacks := e.Lacks(); lacks != "" {
			c.LeftOut = append(c.LeftOut, fmt.Sprintf("%s, because %s (make bench-deps installs it)", e.Name, lacks))
			continue
		}
		c.Servers = append(c.Servers, e)
	}
	for _, w := range run.Workloads {
		if workload.MatchString(w.Name) && (!o.quick || w.Quick || o.workloads != "") {
			c.Workloads = append(c.Workloads, w)
		}
	}
	if len(c.Servers) == 0 || len(c.Workloads) == 0 {
		return c, fmt.Errorf("no server or no workload is left; see -list%s", strings.Join(append([]string{""}, c.LeftOut...), "; left out: "))
	}
	return c, nil
}

func list(c run.Config) {
	fmt.Println("servers:")
	for _, e := range c.Servers {
		fmt.Printf("  %-20s %s\n", e.Name, e.About)
	}
	for _, left := range c.LeftOut {
		fmt.Println("  left out:", left)
	}
	fmt.Println("workloads:")
	for _, w := range c.Workloads {
		fmt.Printf("  %-20s %s\n", w.Name, w.Title)
	}
	fmt.Printf("%d rounds of %v: about %v\n", c.Rounds, c.Time, c.Estimate().Round(time.Minute/2))
}
