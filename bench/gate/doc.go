// Package gate keeps ssegin's counts from growing unseen: allocations, bytes,
// write calls and instructions for each publish, delivery, token and client,
// and what an idle stream holds. It measures no time, so it says the same on a
// busy machine as on a quiet one.
//
// The figures that were landed last stand in figures.json. TestGate measures
// them anew and fails if one is worse by more than the bound of its kind; with
// -update it writes the file.
//
// Each work runs in a process of its own, and the test is its clients, so that
// nothing of the clients is counted. The measured process has one processor
// (GOMAXPROCS) and collects no garbage while it counts: then the figures depend
// neither on the machine's cores nor on when a pool was emptied.
package gate
