namespace KeyVa.Engines.Memory;

/// <summary>A <see cref="ScrubPass"/> over a memory engine's checkpoint, the one that is there when the pass begins.</summary>
internal sealed class CheckpointScrub(Func<CheckpointReader?> open) : ScrubPass
{
    private CheckpointReader? _reader;

    public override bool Step(long bytes, Action<CorruptionException> found, out long read)
    {
        read = 0;
        try
        {
            _reader ??= open();
            while (_reader is not null && _reader.MoveNext())
            {
                read += _reader.Key.Length + _reader.Value.Length;
                if (read >= bytes)
                {
                    return true;
                }
            }
        }
        catch (CorruptionException damage)
        {
            found(damage);
        }

        return false;
    }

    public override void Dispose()
    {
        _reader?.Dispose();
        _reader = null;
    }
}
