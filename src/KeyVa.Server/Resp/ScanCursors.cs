namespace KeyVa.Server.Resp;

/// <summary>
/// The cursors of SCAN. A cursor has 64 bits and stands for the key behind which the scan goes on; since a key has up to 8 KiB, the keys are kept here,
/// the newest <see cref="MaxCursors"/> of them. A cursor may be used any number of times while it is kept. Thread-safe.
/// </summary>
internal sealed class ScanCursors
{
    /// <summary>Cursors kept at most; with the longest keys they hold 32 MiB.</summary>
    public const int MaxCursors = 4096;

    private readonly Lock _lock = new();
    private readonly (long Number, byte[] After)[] _ring = new (long, byte[])[MaxCursors];

    // Not from 1: a cursor of the server that was here before must not be taken for one of ours.
    private long _last = Random.Shared.NextInt64(1L << 32, 1L << 48);

    /// <summary>A number for the place behind a key.</summary>
    public long Keep(byte[] after)
    {
        lock (_lock)
        {
            long number = ++_last;
            _ring[number % MaxCursors] = (number, after);
            return number;
        }
    }

    /// <summary>The key to go on behind, empty at the beginning (number 0); false: the cursor is not kept.</summary>
    public bool TryFind(long number, out byte[] after)
    {
        after = [];
        if (number == 0)
        {
            return true;
        }

        if (number < 0)
        {
            return false;
        }

        lock (_lock)
        {
            (long kept, byte[] key) = _ring[number % MaxCursors];
            after = kept == number ? key : [];
            return kept == number;
        }
    }
}
