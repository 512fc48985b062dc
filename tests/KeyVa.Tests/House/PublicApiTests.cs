using System.Globalization;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text;
using KeyVa.Client;
using Xunit;

namespace KeyVa.Tests.House;

/// <summary>
/// What users of the libraries can call is written down, so that no change of it goes unseen. After a change that is meant,
/// <c>KEYVA_REWRITE=1</c> writes it down anew.
/// </summary>
public sealed class PublicApiTests
{
    private const BindingFlags Declared =
        BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;

    [Theory]
    [InlineData(typeof(Store))]
    [InlineData(typeof(RemoteStore))]
    [InlineData(typeof(KeyVa.Hosting.KeyVaOptions))]
    public void ThePublicApiIsAsWrittenDown(Type one)
    {
        string api = Describe(one.Assembly);
        string file = Path.Combine(Repository.Root, "tests", "KeyVa.Tests", "House", $"PublicApi.{one.Assembly.GetName().Name}.txt");
        if (Environment.GetEnvironmentVariable("KEYVA_REWRITE") == "1")
        {
            File.WriteAllText(file, api);
        }

        Assert.True(File.Exists(file), $"{file} is missing; KEYVA_REWRITE=1 writes it");
        Assert.Equal(File.ReadAllText(file), api);
    }

    private static string Describe(Assembly assembly)
    {
        StringBuilder text = new();
        foreach (Type type in assembly.GetExportedTypes().OrderBy(static type => type.FullName, StringComparer.Ordinal))
        {
            text.Append(Kind(type)).Append(' ').Append(Name(type, full: true)).Append(Parents(type)).Append('\n');
            IEnumerable<string> members = type.GetMembers(Declared)
                .Where(static member => !member.IsDefined(typeof(CompilerGeneratedAttribute)) || member is PropertyInfo or MethodInfo { IsSpecialName: true })
                .Select(Describe)
                .OfType<string>()
                .Order(StringComparer.Ordinal);
            foreach (string member in members)
            {
                text.Append("  ").Append(member).Append('\n');
            }
        }

        return text.ToString();
    }

    private static string Kind(Type type) => type switch
    {
        { IsEnum: true } => "enum",
        { IsInterface: true } => "interface",
        { IsByRefLike: true } => "ref struct",
        { IsValueType: true } => "struct",
        { IsAbstract: true, IsSealed: true } => "static class",
        { IsSealed: true } => "sealed class",
        { IsAbstract: true } => "abstract class",
        _ => "class",
    };

    private static string Parents(Type type)
    {
        List<string> parents = [];
        if (type is { IsClass: true, BaseType: { } parent } && parent != typeof(object))
        {
            parents.Add(Name(parent));
        }

        if (!type.IsEnum)
        {
            parents.AddRange(type.GetInterfaces().Where(static one => one.IsPublic).Select(static one => Name(one)).Order(StringComparer.Ordinal));
        }

        return parents.Count == 0 ? "" : " : " + string.Join(", ", parents);
    }

    private static string? Describe(MemberInfo member) => member switch
    {
        FieldInfo { IsLiteral: true } field when IsVisible(field) =>
            string.Create(CultureInfo.InvariantCulture, $"const {Name(field.FieldType)} {field.Name} = {field.GetRawConstantValue()}"),
        FieldInfo field when IsVisible(field) && !field.IsSpecialName => $"field {Name(field.FieldType)} {field.Name}",
        ConstructorInfo { IsStatic: false } made when IsVisible(made) => $"new({Parameters(made)})",
        PropertyInfo property when property.GetAccessors(nonPublic: true).Any(IsVisible) =>
            $"{Static(property.GetAccessors(nonPublic: true)[0])}{Name(property.PropertyType)} {property.Name} {{{Accessors(property)} }}",
        MethodInfo method when IsVisible(method) && !IsAccessor(method) =>
            $"{Static(method)}{Name(method.ReturnType)} {method.Name}({Parameters(method)})",
        EventInfo one => $"event {Name(one.EventHandlerType!)} {one.Name}",
        _ => null,
    };

    private static string Accessors(PropertyInfo property)
    {
        string get = property.GetMethod is { } getter && IsVisible(getter) ? " get;" : "";
        bool init = property.SetMethod?.ReturnParameter.GetRequiredCustomModifiers().Contains(typeof(IsExternalInit)) ?? false;
        string set = property.SetMethod is { } setter && IsVisible(setter) ? (init ? " init;" : " set;") : "";
        return get + set;
    }

    private static bool IsAccessor(MethodInfo method) =>
        method.IsSpecialName && !method.Name.StartsWith("op_", StringComparison.Ordinal);

    private static bool IsVisible(MethodBase method) => method.IsPublic || method.IsFamily || method.IsFamilyOrAssembly;

    private static bool IsVisible(FieldInfo field) => field.IsPublic || field.IsFamily || field.IsFamilyOrAssembly;

    private static string Static(MethodBase method) => method.IsStatic ? "static " : "";

    private static string Parameters(MethodBase method) => string.Join(", ", method.GetParameters().Select(static parameter =>
    {
        string way = parameter.IsOut ? "out " : parameter.ParameterType.IsByRef ? (parameter.IsIn ? "in " : "ref ") : "";
        return $"{way}{Name(parameter.ParameterType)} {parameter.Name}{(parameter.HasDefaultValue ? " = " + (parameter.DefaultValue ?? "default") : "")}";
    }));

    private static string Name(Type type, bool full = false)
    {
        if (type.IsByRef)
        {
            return Name(type.GetElementType()!);
        }

        if (type.IsArray)
        {
            return Name(type.GetElementType()!) + "[]";
        }

        string name = full && type.Namespace is { } space ? $"{space}.{Nested(type)}" : Nested(type);
        int tick = name.IndexOf('`', StringComparison.Ordinal);
        return tick < 0 ? name : $"{name[..tick]}<{string.Join(", ", type.GetGenericArguments().Select(static one => Name(one)))}>";
    }

    private static string Nested(Type type) =>
        type is { IsNested: true, IsGenericParameter: false } ? $"{type.DeclaringType!.Name}.{type.Name}" : type.Name;
}
