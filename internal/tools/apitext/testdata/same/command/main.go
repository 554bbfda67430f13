// Command command is not for others.
package main

func main() {}
