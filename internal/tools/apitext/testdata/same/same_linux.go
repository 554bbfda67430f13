package same

func here(int) {}
