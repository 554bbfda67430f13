// Enginebench measures what one log carries that several processes share. The
// README of the bench folder says how.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/ssegin/ssegin/bench/engines"
)

func main() {
	ran, err := engines.Child(os.Args[1:])
	if !ran {
		err = measure(os.Args[1:])
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "enginebench:", err)
		os.Exit(1)
	}
}

func measure(args []string) error {
	c := engines.Config{Progress: os.Stderr}
	flags := flag.NewFlagSet("enginebench", flag.ContinueOnError)
	flags.BoolVar(&c.Quick, "quick", false, "the short form: fewer engines and processes, one round, a minute")
	flags.IntVar(&c.Rounds, "rounds", 0, "how often each trial is run (default 3, quick 1)")
	flags.DurationVar(&c.Time, "time", 0, "how long each trial publishes (default 2s, quick 1s)")
	name := flags.String("engines", "", "only engines whose names match this `regexp`")
	crowds := flags.String("crowds", "", "only let the crowds that match this `regexp` come back with old IDs, and print what came of them")
	out := flags.String("out", "", "also write the tables and the model into this `folder`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err := choose(&c, *name); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *crowds != "" {
		return come(ctx, c, *crowds)
	}
	results, err := engines.Run(ctx, c)
	if err != nil {
		return err
	}
	if *out != "" {
		if err := results.Save(*out); err != nil {
			return err
		}
	}
	return results.Write(os.Stdout)
}

// choose fills in what was not said. What is named explicitly is never left out.
func choose(c *engines.Config, name string) error {
	rounds, time := 3, 2*time.Second
	if c.Quick {
		rounds, time = 1, time/2
	}
	if c.Rounds <= 0 {
		c.Rounds = rounds
	}
	if c.Time <= 0 {
		c.Time = time
	}
	match, err := regexp.Compile(name)
	if err != nil {
		return fmt.Errorf("-engines: %w", err)
	}
	for _, e := range engines.Engines {
		if match.MatchString(e.Name) && (!c.Quick || e.Quick || name != "") {
			c.Engines = append(c.Engines, e)
		}
	}
	if len(c.Engines) == 0 {
		return errors.New("no engine matches")
	}
	return nil
}

// come lets crowds come to each engine that keeps its log apart.
func come(ctx context.Context, c engines.Config, names string) error {
	match, err := regexp.Compile(names)
	if err != nil {
		return fmt.Errorf("-crowds: %w", err)
	}
	fmt.Println(engines.CrowdHead)
	for _, crowd := range engines.Crowds {
		for _, e := range c.Engines {
			if match.MatchString(crowd.Name) && e.Kind != engines.Memory && ctx.Err() == nil {
				fmt.Println(crowd.Come(ctx, e))
			}
		}
	}
	return ctx.Err()
}
