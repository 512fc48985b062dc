using System.Collections.Frozen;
using Google.Protobuf.Reflection;

namespace KeyVa.Protocol.Grpc;

/// <summary>Finds the .proto file that declares a symbol or an extension. Immutable after construction.</summary>
internal sealed class ReflectionIndex
{
    private readonly FrozenDictionary<string, FileDescriptor> _files;
    private readonly FrozenDictionary<string, FileDescriptor> _symbols;
    private readonly FrozenDictionary<string, SortedDictionary<int, FileDescriptor>> _extensions;

    /// <summary>An index of these files and everything they import.</summary>
    internal ReflectionIndex(IEnumerable<FileDescriptor> roots)
    {
        Dictionary<string, FileDescriptor> files = new(StringComparer.Ordinal);
        foreach (FileDescriptor root in roots)
        {
            foreach (FileDescriptor file in Closure(root))
                files.TryAdd(file.Name, file);
        }
        Dictionary<string, FileDescriptor> symbols = new(StringComparer.Ordinal);
        Dictionary<string, SortedDictionary<int, FileDescriptor>> extensions = new(StringComparer.Ordinal);
        foreach (FileDescriptor file in files.Values)
        {
            foreach (MessageDescriptor message in file.MessageTypes)
                AddMessage(message, symbols);
            foreach (EnumDescriptor type in file.EnumTypes)
                AddEnum(type, symbols);
            foreach (ServiceDescriptor service in file.Services)
            {
                symbols[service.FullName] = file;
                foreach (MethodDescriptor method in service.Methods)
                    symbols[method.FullName] = file;
            }
            foreach (FieldDescriptor extension in file.Extensions.UnorderedExtensions)
            {
                symbols[extension.FullName] = file;
                string extended = extension.ExtendeeType.FullName;
                if (!extensions.TryGetValue(extended, out SortedDictionary<int, FileDescriptor>? numbers))
                    extensions[extended] = numbers = [];
                numbers[extension.FieldNumber] = file;
            }
        }
        _files = files.ToFrozenDictionary(StringComparer.Ordinal);
        _symbols = symbols.ToFrozenDictionary(StringComparer.Ordinal);
        _extensions = extensions.ToFrozenDictionary(StringComparer.Ordinal);
    }

    internal FileDescriptor? ByName(string name) => _files.GetValueOrDefault(name);

    internal FileDescriptor? BySymbol(string symbol) => _symbols.GetValueOrDefault(symbol);

    internal FileDescriptor? ByExtension(string type, int number)
        => _extensions.TryGetValue(type, out SortedDictionary<int, FileDescriptor>? numbers)
            ? numbers.GetValueOrDefault(number)
            : null;

    /// <summary>The extensions of a message type, in order; null if the type is unknown.</summary>
    internal IEnumerable<int>? ExtensionNumbers(string type)
    {
        if (_extensions.TryGetValue(type, out SortedDictionary<int, FileDescriptor>? numbers))
            return numbers.Keys;
        return _symbols.ContainsKey(type) ? [] : null;
    }

    /// <summary>A file and everything it imports, itself first, each once.</summary>
    internal static List<FileDescriptor> Closure(FileDescriptor root)
    {
        List<FileDescriptor> files = [root];
        HashSet<string> seen = new(StringComparer.Ordinal) { root.Name };
        for (int i = 0; i < files.Count; i++)
        {
            foreach (FileDescriptor import in files[i].Dependencies)
            {
                if (seen.Add(import.Name))
                    files.Add(import);
            }
        }
        return files;
    }

    private static void AddMessage(MessageDescriptor message, Dictionary<string, FileDescriptor> symbols)
    {
        symbols[message.FullName] = message.File;
        foreach (FieldDescriptor field in message.Fields.InDeclarationOrder())
            symbols[field.FullName] = message.File;
        foreach (OneofDescriptor oneof in message.Oneofs)
            symbols[oneof.FullName] = message.File;
        foreach (EnumDescriptor type in message.EnumTypes)
            AddEnum(type, symbols);
        foreach (MessageDescriptor nested in message.NestedTypes)
            AddMessage(nested, symbols);
    }

    private static void AddEnum(EnumDescriptor type, Dictionary<string, FileDescriptor> symbols)
    {
        symbols[type.FullName] = type.File;
        // As in C++, the values of an enum are names of the scope around it.
        string scope = type.FullName[..^type.Name.Length];
        foreach (EnumValueDescriptor value in type.Values)
            symbols[scope + value.Name] = type.File;
    }
}
