using KeyVa.Engines;

namespace KeyVa.Partitions;

/// <summary>Makes the list of a key's versions from what an engine has. Stateless but for one answer.</summary>
/// <remarks>
/// Engines note removals that removed nothing (blind ones, ranges): the list has a removal only where something was there
/// before it, the oldest one of several in a row. So it is the same whatever the engine.
/// </remarks>
internal sealed class HistoryList
{
    private readonly HistoryOptions _options;
    private readonly LinkedList<KeyVersion> _found = new();
    private long _bytes;
    private long _resume;

    private HistoryList(HistoryOptions options) => _options = options;

    /// <summary>The walk begins at the newest version to list, and ends with the state that is pinned, or goes beyond by count.</summary>
    public static HistoryResult Collect(VersionWalk walk, HistoryFloor floor, long pinned, HistoryOptions options)
    {
        var list = new HistoryList(options);
        list.Collect(walk, floor, pinned);
        return new HistoryResult { Status = Status.Ok, Versions = [.. options.Reverse ? list._found.Reverse() : list._found], ResumeVersion = list._resume, BeginsAtVersion = pinned };
    }

    private void Collect(VersionWalk walk, HistoryFloor floor, long pinned)
    {
        KeyVersion? removal = null;
        while (walk.MoveNext())
        {
            if (walk.IsRemoval)
            {
                removal = new KeyVersion { Version = walk.Version, ModifiedUnixMilliseconds = walk.Stamp, IsRemoval = true };
            }
            else
            {
                if (removal is { } before && !Add(before))
                {
                    return;
                }

                removal = null;
                if (walk.Version < _options.From || !Add(Copy(walk)))
                {
                    return;
                }
            }

            // Older ones are not complete any more: neither by time nor, if so many newer ones were counted, by count.
            bool isCounted = walk.Newer + 1 < floor.Count && walk.Version > floor.CountedFrom;
            if (walk.Version <= pinned && !isCounted)
            {
                return;
            }
        }
    }

    private KeyVersion Copy(VersionWalk walk) => new()
    {
        Version = walk.Version,
        ModifiedUnixMilliseconds = walk.Stamp,
        Value = _options.WithoutValues ? default : walk.Value.ToArray(),
        ExpiresAtUnixMilliseconds = walk.ExpiresAt,
    };

    /// <summary>False: the answer is full. In reverse the newest ones make room for older ones.</summary>
    private bool Add(KeyVersion version)
    {
        if (version.Version < _options.From)
        {
            return false;
        }

        if (!_options.Reverse && IsFull)
        {
            _resume = version.Version;
            return false;
        }

        while (_options.Reverse && IsFull)
        {
            KeyVersion newest = _found.First!.Value;
            _found.RemoveFirst();
            _bytes -= newest.Value.Length;
            _resume = newest.Version;
        }

        _found.AddLast(version);
        _bytes += version.Value.Length;
        return true;
    }

    private bool IsFull => _found.Count == _options.Limit || (_found.Count > 0 && _bytes >= HistoryOptions.MaxBytes);
}
