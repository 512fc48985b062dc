using System.Globalization;
using System.Text;

namespace KeyVa.Tests.Stores;

/// <summary>Every version there ever was, in a dictionary: what a store with retention may tell, and what it must.</summary>
internal sealed class VersionModel
{
    private readonly SortedDictionary<string, List<Event>> _keys = new(StringComparer.Ordinal);
    private readonly List<(long Stamp, long Version)> _commands = [];

    public IEnumerable<string> Keys => _keys.Keys;

    public long Newest => _commands.Count == 0 ? 0 : _commands[^1].Version;

    public void Put(string key, long version, long stamp, string value, long expiresAt) => Add(key, new Event(version, stamp, value, expiresAt));

    public void Remove(string key, long version, long stamp) => Add(key, new Event(version, stamp, null, 0));

    public void RemoveRange(string from, string to, long version, long stamp)
    {
        Note(version, stamp);
        foreach (string key in InRange(from, to))
        {
            Add(key, new Event(version, stamp, null, 0));
        }
    }

    /// <summary>Returns how many keys change.</summary>
    public long RollBack(string from, string to, long target, long version, long stamp)
    {
        Note(version, stamp);
        long changed = 0;
        foreach (string key in InRange(from, to))
        {
            Event? then = Alive(At(key, target), stamp);
            Event? now = Alive(At(key, version - 1), stamp);
            if (then?.Value != now?.Value || then?.ExpiresAt != now?.ExpiresAt)
            {
                changed++;
                Add(key, new Event(version, stamp, then?.Value, then?.ExpiresAt ?? 0));
            }
        }

        return changed;
    }

    /// <summary>The newest event of a key at or below a version; null: it had none.</summary>
    public Event? At(string key, long version) => _keys.TryGetValue(key, out List<Event>? events) ? events.FindLast(e => e.Version <= version) : null;

    public Event? AtTime(string key, long time) => _keys.TryGetValue(key, out List<Event>? events) ? events.FindLast(e => e.Stamp <= time) : null;

    public int Newer(string key, long version) => _keys.TryGetValue(key, out List<Event>? events) ? events.Count(e => e.Version > version) : 0;

    /// <summary>When the newest command at or below a version was accepted.</summary>
    public long StampOf(long version) => _commands.FindLast(command => command.Version <= version).Stamp;

    /// <summary>A key that the removal of a range counts for, whether it was ever there or not.</summary>
    public void Know(string key) => _keys.TryAdd(key, []);

    /// <summary>What really happened to a key, newest first: removals only where there was something.</summary>
    public List<Event> History(string key)
    {
        List<Event> events = _keys.TryGetValue(key, out List<Event>? all) ? all : [];
        List<Event> real = [];
        for (int i = 0; i < events.Count; i++)
        {
            if (events[i].Value is not null || (i > 0 && events[i - 1].Value is not null))
            {
                real.Add(events[i]);
            }
        }

        real.Reverse();
        return real;
    }

    public string Scan(long version)
    {
        StringBuilder text = new();
        foreach (string key in _keys.Keys)
        {
            if (At(key, version) is { Value: { } value } found)
            {
                text.Append(CultureInfo.InvariantCulture, $"{key}={value}@{found.Version} ");
            }
        }

        return text.ToString();
    }

    public void Note(long version, long stamp)
    {
        if (version > Newest)
        {
            _commands.Add((stamp, version));
        }
    }

    private static Event? Alive(Event? found, long stamp) =>
        found is { Value: not null } && (found.ExpiresAt == 0 || found.ExpiresAt > stamp) ? found : null;

    private string[] InRange(string from, string to) =>
        [.. _keys.Keys.Where(key => string.CompareOrdinal(key, from) >= 0 && (to.Length == 0 || string.CompareOrdinal(key, to) < 0))];

    private void Add(string key, Event added)
    {
        Note(added.Version, added.Stamp);
        if (!_keys.TryGetValue(key, out List<Event>? events))
        {
            _keys.Add(key, events = []);
        }

        events.Add(added);
    }

    /// <summary>A put, or a removal if there is no value.</summary>
    internal sealed record Event(long Version, long Stamp, string? Value, long ExpiresAt);
}
