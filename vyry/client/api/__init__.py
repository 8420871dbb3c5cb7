"""What a program calls: `Client`, and the parts that it has as attributes (`messages`, `groups`, `files` ...). They check arguments and delegate to the packages below."""
