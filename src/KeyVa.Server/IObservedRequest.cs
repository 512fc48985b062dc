using System.Diagnostics;
using KeyVa.Measurements;

namespace KeyVa.Server;

/// <summary>
/// What the slow log, the operation log and traces want to know of a request that has ended. Asked only if one of them takes it; so its
/// answers may cost something.
/// </summary>
internal interface IObservedRequest
{
    /// <summary>Where it came from.</summary>
    string Peer { get; }

    /// <summary>What the client calls itself; empty: nothing.</summary>
    string ClientName { get; }

    /// <summary>How it ended, in the protocol's own words.</summary>
    string Outcome { get; }

    /// <summary>The trace that the caller has told of; default: none.</summary>
    ActivityContext Parent { get; }

    /// <summary>Where the time of its write went; null: it was not noted.</summary>
    WriteTimes? Times { get; }

    /// <summary>Where the time of its read went; null: it was not noted.</summary>
    ReadTimes? Reads { get; }

    /// <summary>Whether it carries passwords: then nothing of it is kept.</summary>
    bool HasSecrets { get; }

    /// <summary>What was asked: the command first. Long arguments and many are shortened by whoever keeps them.</summary>
    byte[][] Arguments();

    /// <summary>The key, or what else was asked for, without values; shown in the operation log.</summary>
    string Target();
}
