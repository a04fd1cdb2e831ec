# The echo that every peer answers.
@0xd6f2a3c1b0e94587;

interface Echo {
  echo @0 (payload :Data) -> (payload :Data);
}
