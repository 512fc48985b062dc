namespace KeyVa.Client;

/// <summary>A request that a server has been slow to answer.</summary>
/// <param name="Number">Counts up.</param>
/// <param name="Time">When it ended.</param>
/// <param name="Door">The front door: rest, grpc or resp.</param>
/// <param name="Operation">What it was, as metrics call it.</param>
/// <param name="Duration">Its time in the server.</param>
/// <param name="Arguments">A Redis command with its arguments, method and key elsewhere; shortened.</param>
/// <param name="Peer">Where it came from.</param>
/// <param name="ClientName">What the client calls itself; may be empty.</param>
/// <param name="Outcome">How it ended, in the words of the protocol that it came by.</param>
/// <param name="Parts">Where the time of its write went; null: it wrote nothing, or the store was not what took long.</param>
public sealed record RemoteSlowRequest(
    long Number, DateTimeOffset Time, string Door, string Operation, TimeSpan Duration, IReadOnlyList<ReadOnlyMemory<byte>> Arguments,
    string Peer, string ClientName, string Outcome, RemoteWriteParts? Parts);

/// <summary>Where the time of a write went.</summary>
/// <param name="Partition">The partition.</param>
/// <param name="GroupSize">Writes that shared the log's group.</param>
/// <param name="Queue">Waiting for its turn.</param>
/// <param name="Log">Encoding and writing to the log, without the sync.</param>
/// <param name="Sync">Waiting for the disk to have it.</param>
/// <param name="Apply">Applying it to the engine.</param>
public sealed record RemoteWriteParts(long Partition, int GroupSize, TimeSpan Queue, TimeSpan Log, TimeSpan Sync, TimeSpan Apply);
