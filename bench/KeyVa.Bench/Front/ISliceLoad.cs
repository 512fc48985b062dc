namespace KeyVa.Bench.Front;

/// <summary>A load that can be put on a server for a moment, again and again, over connections that stay open. One thread at a time.</summary>
internal interface ISliceLoad : IDisposable
{
    /// <summary>Sends requests for so long and waits for all answers; tells how many were answered. An answer that is not the right one fails the run.</summary>
    long Run(TimeSpan slice);
}
